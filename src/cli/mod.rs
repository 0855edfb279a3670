//! The command line.

pub(crate) mod args;
mod capture;
mod console;
mod counters;
mod ending;
mod extcap;
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
pub(crate) mod usage;
mod values;

use std::io::{self, Write};
use std::process::ExitCode;

use tcp_tunn::os_error::Sentence;

use self::report::{FAILED, complain, with_causes};

/// The arguments make no sense.
const WRONG_USAGE: u8 = 2;

/// Does what the arguments say. The exit code is 0 where all went as the user wanted, 1 where
/// something failed at run time and 2 where the arguments make no sense.
pub(crate) fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            complain(usage::one_line(&error));
            return ExitCode::from(WRONG_USAGE);
        }
        Err(help_or_version) => return written(help_or_version.print()),
    };
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
    match run::run(args) {
        Ok(code) => code,
        Err(error) => {
            complain(with_causes(&error));
            ExitCode::from(FAILED)
        }
    }
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
