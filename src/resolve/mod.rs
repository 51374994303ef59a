//! Resolves numbers to names: processes to users, programs and containers, addresses to host names,
//! ports to services, network interfaces and namespaces. What may take long happens in background threads.

