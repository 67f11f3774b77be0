// Asks for a page again that is being made. A refresh by the document itself would go nowhere from an address with #t=….
setTimeout(() => location.reload(), 1000);
