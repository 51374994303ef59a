//! Arguments, the configuration file and the environment: one validated
//! [`Config`](crate::options::Config).

mod args;
pub mod config_edit;
pub mod config_file;
mod config_path;
mod diff_args;
mod environment;
mod filter_args;
mod manual;
mod metrics_args;
mod other_tools;
mod recording_args;
pub mod request;
mod run_args;
mod usage;
mod usage_args;
mod values;
mod zones_file;

pub use self::environment::Environment;
pub use self::request::{Request, parse};
