//! Resolves numbers to names: processes to users, programs and containers, addresses to host names,
//! ports to services, network interfaces and namespaces. What may take long happens in background
//! threads.

mod background_cache;
mod cgroup;
pub mod containers;
mod dns;
mod dns_answers;
pub mod dns_names;
#[cfg(any(test, fuzzing))]
pub mod fuzz_names;
#[cfg(any(test, fuzzing))]
pub mod fuzz_owners;
mod hosts;
pub mod interfaces;
mod name_cache;
pub mod names;
pub mod namespace;
mod netns;
pub mod owners;
mod processes;
mod ptr;
mod resolv_conf;
pub mod services;
mod sockets;
mod system;
mod users;
mod watched_file;
