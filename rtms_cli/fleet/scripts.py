"""The dispatch's rules as scripts for Redis or Valkey. `book.Book` has the same rules, and explains them.

Keys. All share a prefix with one hash tag, so that a cluster keeps them in one slot:

    queue      stream: an entry for each stream that waits or is recorded. The entry that is pending for a worker in the
               group `workers` is that worker's claim, and its idle time is the claim's age; what nobody owns is pending
               for `-`
    s:ID       hash: what is known of a stream
    n:ID       list: its news, each `NUMBER VIA BODY`
    t:ID       set: the ends and losses that were told
    h:ID       list: what happened to it, in JSON
    open, waiting, ended   sorted sets of stream ids, by when they were offered or ended
    workers    hash: what each worker says of itself, in JSON; `heard` when, `has` how many streams
    heard      sorted set of workers, by when; `free` by how many more streams each would take
    drain      set of workers that are asked to drain
    bell:W     stream: the worker W has something to look for
    alive      when anyone called last; `grace`: until when no claim is taken over
    looked     there while nobody has to look for silent owners
"""

COMMON = """
local P, LEASE, RENEW, KEPT = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local MOST = tonumber(ARGV[4])
local QUEUE, GROUP, NOBODY = P .. 'queue', 'workers', '-'
local IDLE = LEASE -- what is pending for less was renewed; how long exactly, the stream's hash says
local MOST_ENDED = 20000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', QUEUE) == 0 then redis.call('XGROUP', 'CREATE', QUEUE, GROUP, '0', 'MKSTREAM') end

local function key(kind, id) return P .. kind .. ':' .. id end

local function note(id, what, epoch, who, text)
  redis.call('RPUSH', key('h', id), cjson.encode({string.format('%.0f', now), what, tonumber(epoch) or 0, who, text}))
  redis.call('LTRIM', key('h', id), -MOST, -1)
end

local function ring(worker)
  local bell = P .. 'bell:' .. worker
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'at', now)
  redis.call('PEXPIRE', bell, 20 * LEASE)
end

-- Something may be taken. All would be too many to wake: the two that have most slots free are. If both are dead, who
-- looks next finds it.
local function ring_free()
  local rung = 0
  for _, worker in ipairs(redis.call('ZREVRANGEBYSCORE', P .. 'free', '+inf', 1, 'LIMIT', 0, 10)) do
    if now - tonumber(redis.call('ZSCORE', P .. 'heard', worker) or 0) > 2 * RENEW then
      redis.call('ZREM', P .. 'free', worker)
    elseif rung < 2 then
      rung = rung + 1
      ring(worker)
      redis.call('ZINCRBY', P .. 'free', -1, worker)
    end
  end
end

local function older(one, other)
  return one ~= '' and other and other ~= '' and tonumber(one) < tonumber(other)
end

local function is_open(state) return state == 'waiting' or state == 'owned' end

local function add(id, body, via)
  local number = redis.call('HINCRBY', key('s', id), 'number', 1)
  redis.call('RPUSH', key('n', id), number .. ' ' .. via .. ' ' .. body)
  if redis.call('LLEN', key('n', id)) > MOST then -- all but the start and the newest ones
    local first = redis.call('LPOP', key('n', id))
    redis.call('LPOP', key('n', id))
    redis.call('LPUSH', key('n', id), first)
  end
  return number
end

local function enter(id)
  for _, kind in ipairs({'s', 'n', 't', 'h'}) do redis.call('PERSIST', key(kind, id)) end
  redis.call('ZREM', P .. 'ended', id)
  redis.call('ZADD', P .. 'waiting', now, id)
  redis.call('HSET', key('s', id), 'state', 'waiting', 'entry', redis.call('XADD', QUEUE, '*', 's', id),
    'heard', now, 'not_before', now, 'owner', '', 'said', '')
  ring_free()
end

local function past(id)
  local known = redis.call('HMGET', key('s', id), 'told', 'past')
  redis.call('HSET', key('s', id), 'past', known[1] or known[2] or '')
  redis.call('HDEL', key('s', id), 'told')
  redis.call('DEL', key('t', id), key('n', id))
end

local function begin(id, body, via, created, stamp)
  local s = key('s', id)
  local known = redis.call('HMGET', s, 'recording', 'tail')
  local name = stamp .. known[2]
  if known[1] == name then name = name .. '_2' end
  past(id)
  redis.call('HSET', s, 'recording', name, 'created', created, 'offered', now, 'recorded', now, 'epoch', 0,
    'former', '')
  redis.call('ZADD', P .. 'open', now, id)
  redis.call('HSET', s, 'last_start', add(id, body, via))
  enter(id)
  note(id, 'offered', 0, '', name)
end

local function go_on(id, body, via)
  past(id)
  local s = key('s', id)
  redis.call('ZADD', P .. 'open', 'NX', now, id)
  redis.call('HSET', s, 'recorded', now, 'last_start', add(id, body, via))
  enter(id)
  note(id, 'offered', redis.call('HGET', s, 'epoch'), '', 'its recording continues')
end

local function let_go(id, after)
  local known = redis.call('HMGET', key('s', id), 'entry', 'owner')
  redis.call('HSET', key('s', id), 'state', 'waiting', 'owner', '', 'said', '', 'former', known[2],
    'not_before', now + after)
  redis.call('XCLAIM', QUEUE, GROUP, NOBODY, 0, known[1], 'IDLE', math.max(0, LEASE - after), 'JUSTID')
  redis.call('ZADD', P .. 'waiting', now, id)
  if after == 0 then ring_free() end
end

local function has_begun(id, seen) -- else it is about an earlier recording, in which epochs counted from 1, too
  local first = redis.call('LINDEX', key('n', id), 0)
  return not first or tonumber(string.match(first, '^%d+')) <= seen
end

local function is_owner(id, worker, epoch)
  local known = redis.call('HMGET', key('s', id), 'state', 'owner', 'epoch')
  return known[1] == 'owned' and known[2] == worker and known[3] == tostring(epoch)
end

local function forget(id)
  for _, kind in ipairs({'s', 'n', 't', 'h'}) do redis.call('DEL', key(kind, id)) end
end

-- The streams that a worker has.
local function streams_of(worker)
  local found = {}
  for _, one in ipairs(redis.call('XPENDING', QUEUE, GROUP, '-', '+', 100000, worker)) do
    local entry = redis.call('XRANGE', QUEUE, one[1], one[1])[1]
    local id = entry and entry[2][2]
    local known = id and redis.call('HMGET', key('s', id), 'owner', 'entry')
    if known and known[2] == one[1] and known[1] == worker then
      found[#found + 1] = id
    elseif known and known[2] == one[1] then -- read, but not taken
      redis.call('XCLAIM', QUEUE, GROUP, NOBODY, 0, one[1], 'IDLE', LEASE, 'JUSTID')
    else -- of another time
      redis.call('XACK', QUEUE, GROUP, one[1])
      redis.call('XDEL', QUEUE, one[1])
    end
  end
  return found
end

local function forget_worker(worker)
  redis.call('HDEL', P .. 'workers', worker)
  redis.call('HDEL', P .. 'has', worker)
  redis.call('ZREM', P .. 'heard', worker)
  redis.call('ZREM', P .. 'free', worker)
  redis.call('SREM', P .. 'drain', worker)
  redis.call('DEL', P .. 'bell:' .. worker)
  -- With a consumer its pending entries go: nobody would take those over.
  if #redis.call('XPENDING', QUEUE, GROUP, '-', '+', 1, worker) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', QUEUE, GROUP, worker)
  end
end

local function forget_silent()
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', P .. 'heard', '-inf', now - 20 * LEASE - 1, 'LIMIT', 0, 100)) do
    forget_worker(worker)
  end
end

local function hear(worker, status, free, has)
  redis.call('HSET', P .. 'workers', worker, status)
  if has then redis.call('HSET', P .. 'has', worker, has) end
  redis.call('ZADD', P .. 'heard', now, worker)
  redis.call('ZADD', P .. 'free', free, worker)
  -- Where nobody reached the queue for a while, everyone has time to renew what is theirs.
  local alive = tonumber(redis.call('GET', P .. 'alive') or now)
  if now - alive > 2 * RENEW then redis.call('SET', P .. 'grace', now + LEASE, 'PX', LEASE) end
  redis.call('SET', P .. 'alive', now)
end

local function finish(id, state)
  local s = key('s', id)
  local entry = redis.call('HGET', s, 'entry')
  redis.call('XACK', QUEUE, GROUP, entry)
  redis.call('XDEL', QUEUE, entry)
  redis.call('HSET', s, 'state', state, 'said', '', 'former', redis.call('HGET', s, 'owner'), 'owner', '', 'heard', now)
  redis.call('ZREM', P .. 'open', id)
  redis.call('ZREM', P .. 'waiting', id)
  redis.call('ZADD', P .. 'ended', now, id)
  redis.call('DEL', key('n', id))
  for _, kind in ipairs({'s', 't', 'h'}) do redis.call('PEXPIRE', key(kind, id), KEPT) end
  redis.call('ZREMRANGEBYSCORE', P .. 'ended', '-inf', '(' .. string.format('%.0f', now - KEPT))
  local many = redis.call('ZCARD', P .. 'ended') - MOST_ENDED
  for _, other in ipairs(many > 0 and redis.call('ZRANGE', P .. 'ended', 0, math.min(many, 100) - 1) or {}) do
    redis.call('ZREM', P .. 'ended', other)
    forget(other)
  end
end
"""

OFFER = """
forget_silent()
local kind, id, ts, urls, revoked = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1'
local via, body, created, stamp, tail = ARGV[10], ARGV[11], ARGV[12], ARGV[13], ARGV[14]
local s = key('s', id)
local known = redis.call('HMGET', s, 'state', 'start_ts', 'start_urls', 'past', 'epoch', 'owner')
local state, start_ts, epoch = known[1], known[2], known[5] or 0

if kind == 'start' then
  if not state then
    redis.call('HSET', s, 'tail', tail, 'start_ts', ts, 'start_urls', urls, 'w:' .. via, 1, 'number', 0)
    begin(id, body, via, created, stamp)
    return 'starts'
  end
  if older(ts, start_ts) then
    note(id, 'past', epoch, '', 'a start older than the last one')
    return 'past'
  end
  local ways = {'w:http', 'w:events', 'w:payload'}
  if ts == start_ts and urls == known[3] then
    local count = redis.call('HINCRBY', s, 'w:' .. via, 1)
    if is_open(state) then return 'again' end
    for _, other in ipairs(ways) do
      if other ~= 'w:' .. via and tonumber(redis.call('HGET', s, other) or 0) >= count then return 'again' end
    end
  else
    redis.call('HDEL', s, unpack(ways))
    redis.call('HSET', s, 'w:' .. via, 1)
  end
  redis.call('HSET', s, 'start_ts', ts, 'start_urls', urls)
  if is_open(state) then
    redis.call('HSET', s, 'last_start', add(id, body, via))
    note(id, 'news', epoch, '', 'a newer start')
    if known[6] ~= '' then ring(known[6]) end
    return 'news'
  end
  if state ~= 'interrupted' then
    redis.call('HSET', s, 'tail', tail)
    begin(id, body, via, created, stamp)
    return 'starts'
  end
  go_on(id, body, via)
  return 'goes on'
end

if not state then return 'unknown' end
if older(ts, start_ts) then
  note(id, 'past', epoch, '', kind .. ', from before the last start')
  return 'past'
end
if ts ~= '' and known[4] and known[4] ~= '' and tonumber(ts) <= tonumber(known[4]) then return 'past' end
if redis.call('SADD', key('t', id), kind .. ':' .. ts) == 0 then return 'again' end
local told = redis.call('HGET', s, 'told')
if ts ~= '' and (not told or tonumber(told) < tonumber(ts)) then redis.call('HSET', s, 'told', ts) end
if not is_open(state) then
  if redis.call('PTTL', s) > 0 then redis.call('PEXPIRE', key('t', id), redis.call('PTTL', s)) end
  if not revoked then return 'unknown' end
  redis.call('DEL', key('n', id))
  redis.call('ZADD', P .. 'open', now, id)
  enter(id)
end
add(id, body, via)
note(id, 'news', epoch, '', kind)
if known[6] and known[6] ~= '' then ring(known[6]) end
return 'news'
"""

TAKE = """
local LOOKS = 15
local worker, status, free, most = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
hear(worker, status, free)
local grace = now < tonumber(redis.call('GET', P .. 'grace') or 0)
local taken = {}

-- An entry that is pending, or was just read: take it if it may be.
local function try(entry, id)
  local s = key('s', id)
  local known = redis.call('HMGET', s, 'state', 'owner', 'former', 'entry', 'recorded', 'heard', 'not_before')
  local state, owner = known[1], known[2]
  if known[4] ~= entry or not is_open(state) then -- of another time
    redis.call('XACK', QUEUE, GROUP, entry)
    redis.call('XDEL', QUEUE, entry)
    return
  end
  if state == 'waiting' then
    if tonumber(known[7]) > now then
      redis.call('XCLAIM', QUEUE, GROUP, NOBODY, 0, entry, 'IDLE', LEASE, 'JUSTID')
      return
    end
  elseif grace or now - known[6] < LEASE then
    -- What was put back, and read only now, stays its owner's.
    redis.call('XCLAIM', QUEUE, GROUP, owner, 0, entry, 'IDLE', math.max(0, now - known[6]), 'JUSTID')
    return
  end
  redis.call('XCLAIM', QUEUE, GROUP, worker, 0, entry, 'JUSTID')
  local former = owner
  if former == '' then former = known[3] or '' end
  local epoch = redis.call('HINCRBY', s, 'epoch', 1)
  redis.call('HSET', s, 'state', 'owned', 'owner', worker, 'former', '', 'said', '', 'heard', now)
  redis.call('ZREM', P .. 'waiting', id)
  local what, text = 'taken', ''
  if state == 'owned' then what = 'taken over' end
  if former ~= '' then text = 'from ' .. former end
  note(id, what, epoch, worker, text)
  local more = redis.call('HMGET', s, 'recording', 'created')
  taken[#taken + 1] = {id, tostring(epoch), more[1], more[2], tostring(now - known[5]), former,
    redis.call('LRANGE', key('n', id), 0, -1)}
end

local function try_idle(...)
  local start = '-'
  while #taken < most do
    local pending = redis.call('XPENDING', QUEUE, GROUP, 'IDLE', IDLE, start, '+', 100, ...)
    for _, one in ipairs(pending) do
      if #taken >= most then break end
      local entry = redis.call('XRANGE', QUEUE, one[1], one[1])[1]
      if entry then
        try(one[1], entry[2][2])
      else -- someone has deleted it
        redis.call('XACK', QUEUE, GROUP, one[1])
      end
    end
    if #pending < 100 then break end
    start = '(' .. pending[#pending][1]
  end
end

-- What was released.
try_idle(NOBODY)

-- What its owner has not renewed in time. That looks at all claims: one worker does it for all, LOOKS times in a lease.
if #taken < most and not grace
  and redis.call('SET', P .. 'looked', 1, 'NX', 'PX', math.ceil(LEASE / LOOKS)) then
  try_idle()
  if #taken >= most then redis.call('DEL', P .. 'looked') end -- there may be more, for others
end

-- What nobody has had yet.
while #taken < most do
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', most - #taken, 'STREAMS', QUEUE, '>')
  if not read then break end
  for _, one in ipairs(read[1][2]) do try(one[1], one[2][2]) end
end
return taken
"""

RENEW = """
local worker, status, free, count = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
hear(worker, status, free, count)
forget_silent()
local lost, unknown, news = {}, {}, {}
for place = 0, count - 1 do
  local id, epoch, seen, said = unpack(ARGV, 9 + 4 * place, 12 + 4 * place)
  local s = key('s', id)
  local known = redis.call('HMGET', s, 'state', 'owner', 'epoch', 'number', 'entry')
  if not known[1] or (known[1] == 'owned' and tonumber(known[3]) < tonumber(epoch)) then
    unknown[#unknown + 1] = id -- or put back by a former owner, which did not know that it was one
  elseif known[1] ~= 'owned' or known[2] ~= worker or known[3] ~= epoch then
    lost[#lost + 1] = id
  else
    if #redis.call('XCLAIM', QUEUE, GROUP, worker, 0, known[5], 'JUSTID') == 0 then -- the queue alone was lost
      local entry = redis.call('XADD', QUEUE, '*', 's', id)
      redis.call('XCLAIM', QUEUE, GROUP, worker, 0, entry, 'FORCE', 'JUSTID')
      redis.call('HSET', s, 'entry', entry)
    end
    redis.call('HSET', s, 'heard', now, 'said', said)
    if said == 'recording' then redis.call('HSET', s, 'recorded', now) end
    if tonumber(known[4]) > tonumber(seen) then
      news[#news + 1] = {id, redis.call('LRANGE', key('n', id), 0, -1)}
    end
  end
end
return {lost, unknown, news, redis.call('SISMEMBER', P .. 'drain', worker)}
"""

RESTORE = """
local worker, status, free, id, epoch, said = unpack(ARGV, 5, 10)
hear(worker, status, free)
local s = key('s', id)
local recording, created, tail, start_ts, start_urls, last_start, via, number = unpack(ARGV, 11, 18)
local known = redis.call('HMGET', s, 'state', 'recording', 'epoch', 'entry')
if known[1] then
  if known[1] ~= 'owned' or known[2] ~= recording or tonumber(known[3]) >= tonumber(epoch) then
    if is_owner(id, worker, epoch) then return 1 else return 0 end
  end
  redis.call('XACK', QUEUE, GROUP, known[4]) -- a former owner was there first
  redis.call('XDEL', QUEUE, known[4])
  redis.call('DEL', s, key('n', id), key('t', id))
end
local entry = redis.call('XADD', QUEUE, '*', 's', id)
redis.call('HSET', s, 'state', 'owned', 'owner', worker, 'epoch', epoch, 'said', said, 'recording', recording,
  'created', created, 'tail', tail, 'start_ts', start_ts, 'start_urls', start_urls, 'last_start', last_start,
  'w:' .. via, 1, 'number', number, 'entry', entry, 'offered', now, 'heard', now, 'recorded', now, 'not_before', now,
  'former', '')
redis.call('XCLAIM', QUEUE, GROUP, worker, 0, entry, 'FORCE', 'JUSTID')
redis.call('ZADD', P .. 'open', now, id)
local newest
for place = 19, #ARGV do
  local kind, rest = string.sub(ARGV[place], 1, 1), string.sub(ARGV[place], 2)
  if kind == 'n' then
    redis.call('RPUSH', key('n', id), rest)
  else
    redis.call('SADD', key('t', id), rest)
    local ts = string.match(rest, ':(.+)$')
    if ts and (not newest or tonumber(newest) < tonumber(ts)) then newest = ts end
  end
end
if newest then redis.call('HSET', s, 'told', newest) end
note(id, 'restored', epoch, worker, recording)
return 1
"""

FINISH = """
local worker, id, epoch, seen, status = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local created, stamp = ARGV[10], ARGV[11]
if not (is_owner(id, worker, epoch) and has_begun(id, seen)) then return 'lost' end
local s = key('s', id)
note(id, 'finished', epoch, worker, status)
local last_start = tonumber(redis.call('HGET', s, 'last_start'))
local news = redis.call('LRANGE', key('n', id), 0, -1)
finish(id, status)
if last_start <= seen then return 'done' end
local started = false
for _, one in ipairs(news) do
  local number, via, body = string.match(one, '^(%d+) (%a+) (.*)$')
  number = tonumber(number)
  if number == last_start then
    started = true
    if status == 'interrupted' then go_on(id, body, via) else begin(id, body, via, created, stamp) end
  elseif started then
    add(id, body, via)
  end
end
return 'starts again'
"""

RELEASE = """
local worker, id, epoch, seen, after, why = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]
if not (is_owner(id, worker, epoch) and has_begun(id, seen)) then return 0 end
let_go(id, after)
note(id, 'released', epoch, worker, why)
return 1
"""

LEAVE = """
local worker = ARGV[5]
for _, id in ipairs(streams_of(worker)) do
  let_go(id, 0)
  note(id, 'released', redis.call('HGET', key('s', id), 'epoch'), worker, 'its worker has left')
end
forget_worker(worker)
return 1
"""

REPORT = """
local most = tonumber(ARGV[5])
forget_silent()
local workers, streams = {}, {}
for _, worker in ipairs(redis.call('ZRANGE', P .. 'heard', 0, -1)) do
  local heard = tonumber(redis.call('ZSCORE', P .. 'heard', worker))
  workers[#workers + 1] = {redis.call('HGET', P .. 'workers', worker), redis.call('HGET', P .. 'has', worker) or '0',
    tostring(now - heard), redis.call('SISMEMBER', P .. 'drain', worker)}
end
local function show(ids)
  for _, id in ipairs(ids) do
    local one = redis.call('HMGET', key('s', id), 'recording', 'epoch', 'owner', 'state', 'said', 'created', 'offered',
      'heard')
    if one[1] then
      streams[#streams + 1] = {id, one[1], one[2], one[3], one[4], one[5] or '', one[6], tostring(now - one[7]),
        tostring(now - one[8])}
    end
  end
end
if most > 0 then
  show(redis.call('ZREVRANGE', P .. 'ended', 0, 99))
  show(redis.call('ZRANGE', P .. 'open', 0, most - 1))
end
return {workers, streams, redis.call('ZCARD', P .. 'waiting'), redis.call('ZCARD', P .. 'open')}
"""

DRAIN = """
local worker = ARGV[5]
if redis.call('HEXISTS', P .. 'workers', worker) == 0 then return 0 end
redis.call('SADD', P .. 'drain', worker)
ring(worker)
return 1
"""
