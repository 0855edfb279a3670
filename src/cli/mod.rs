//! The command line.

pub(crate) mod args;
mod ca;
mod capture;
#[cfg(feature = "fleet")]
mod collect;
mod console;
mod counters;
mod ending;
mod extcap;
#[cfg(feature = "fleet")]
mod fleet;
mod generate;
mod ingress;
mod leaving;
mod look;
mod program;
mod ranges;
mod report;
mod run;
mod run_args;
mod signals;
mod status;
mod stdio;
mod stop;
mod systemd;
mod tls;
mod tls_ending;
mod tls_mode;
pub(crate) mod usage;
mod values;
mod web;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tcp_tunn::os_error::Sentence;

use self::args::Args;
use self::ca::CaArgs;
use self::report::{FAILED, complain, with_causes};

/// The arguments make no sense.
const WRONG_USAGE: u8 = 2;

/// Does what the arguments say. The exit code is 0 where all went as the user wanted, 1 where
/// something failed at run time and 2 where the arguments make no sense.
pub(crate) fn main() -> ExitCode {
    match order(std::env::args_os().collect()) {
        Ok(Order::Authority(ca)) => ca::run(&ca),
        #[cfg(feature = "fleet")]
        Ok(Order::Collect(args)) => ended(collect::run(*args).map(|()| ExitCode::SUCCESS)),
        Ok(Order::Relay(args)) => relay(*args),
        Err(error) if error.use_stderr() => {
            complain(usage::one_line(&error));
            ExitCode::from(WRONG_USAGE)
        }
        Err(help_or_version) => written(help_or_version.print()),
    }
}

/// What is to be done.
enum Order {
    /// Relay, or answer a question about it.
    Relay(Box<Args>),
    /// Show or remove the local authority.
    Authority(CaArgs),
    /// Make one capture of many hosts.
    #[cfg(feature = "fleet")]
    Collect(Box<collect::CollectArgs>),
}

fn order(words: Vec<OsString>) -> Result<Order, clap::Error> {
    if words.get(1).is_some_and(|word| word == "ca") {
        let ca = CaArgs::try_parse_from(words.into_iter().skip(1))?;
        return Ok(Order::Authority(ca));
    }
    #[cfg(feature = "fleet")]
    if words.get(1).is_some_and(|word| word == collect::COMMAND) {
        return Ok(Order::Collect(Box::new(collect::parse(words.into_iter())?)));
    }
    Ok(Order::Relay(Box::new(args::parse(words)?)))
}

fn relay(args: Args) -> ExitCode {
    if let Some(what) = args.generate {
        return written(generate::write(what, &mut io::stdout().lock()));
    }
    if let Some(answer) = args.extcap.answer() {
        return match answer {
            Ok(answer) => written(io::stdout().lock().write_all(answer.as_bytes())),
            Err(error) => {
                let error = Sentence(&error);
                complain(format_args!("cannot install the interface: {error} (is HOME right?)"));
                ExitCode::from(FAILED)
            }
        };
    }
    ended(run::run(args))
}

/// The exit code. Prints the error of what failed at run time.
fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        complain(with_causes(&error));
        ExitCode::from(FAILED)
    })
}

/// The exit code after writing to stdout; whoever closed it has read enough.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to stdout: {}", Sentence(&error)));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}
