//! The arguments of `tcp_tunn run`.

use std::ffi::OsString;

use clap::ArgMatches;
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;

/// What the help of `run` says at its end.
const RUN_NOTES: &str = "\
Each TCP connection that CMD or one of its children makes goes through the tunnel, and is shown and
captured with the address that it goes to. Nothing has to be set up, and no right is needed. Stdin,
stdout, stderr, the terminal, signals and the exit status are CMD's; what is shown goes to stderr.
SSLKEYLOGFILE is set for CMD, so that the plaintext of its TLS is shown, and the secrets go into the
capture; --tls off leaves it alone.

Examples:
  Show what curl and a server send, and open it decrypted in Wireshark:
    tcp_tunn run --pcap out.pcapng -- curl https://example.com/

  Show only what goes to a database:
    tcp_tunn run --include :5432 -- ./manage.py migrate";

/// The name of the argument that is the program and its arguments.
pub(super) const PROGRAM: &str = "program";
/// What `run` has no use for: it listens nowhere.
const LISTENING: [&str; 6] =
    ["from", "to", "proxy", "proxy_user", "transparent", "accept_proxy_protocol"];

/// Refuses an option that listens, or one of `answers`, which start nothing.
pub(super) fn refuse_useless(
    mut command: clap::Command,
    answers: &[&str],
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let is_given = |arg: &&clap::Arg| {
        let id = arg.get_id().as_str();
        (LISTENING.contains(&id) || answers.contains(&id))
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    // An argument is written with its value's name once the command is built.
    command.build();
    let Some(arg) = command.get_arguments().find(is_given) else { return Ok(()) };
    let why = if answers.contains(&arg.get_id().as_str()) {
        "run (leave out 'run' and the program)"
    } else {
        "run, which listens nowhere (leave it out)"
    };
    let name = arg.to_string();
    let name = name.trim_end_matches("...");
    let what = format!("the argument '{name}' cannot be used with {why}");
    Err(command.error(ErrorKind::ArgumentConflict, what))
}

/// The command `tcp_tunn run`, made from the one with all options.
pub(super) fn command(all: clap::Command, answers: &[&str]) -> clap::Command {
    let program = clap::Arg::new(PROGRAM)
        .value_names(["CMD", "ARG"])
        .value_parser(clap::value_parser!(OsString))
        .num_args(1..)
        .trailing_var_arg(true)
        .required(true)
        .help("The program to run, and its arguments");
    let about = "Runs a program and shows what it and its children send and receive by TCP";
    all.mut_args(|arg| {
        let id = arg.get_id().as_str();
        if LISTENING.contains(&id) || answers.contains(&id) {
            // They stay known to the code that reads the arguments.
            arg.hide(true).env(Resettable::Reset)
        } else {
            arg
        }
    })
    .about(about)
    .override_usage("tcp_tunn run [OPTIONS] [--] CMD [ARG...]")
    .after_long_help(RUN_NOTES)
    .arg(program)
}
