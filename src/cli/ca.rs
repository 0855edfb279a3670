//! `tcp_tunn ca`: the local authority.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tcp_tunn::os_error::Sentence;

use super::report::{FAILED, complain};
use super::tls_ending::store;

/// Shows or removes the authority in whose name --tls intercept answers clients
#[derive(Debug, Parser)]
#[command(name = "tcp_tunn ca", after_help = CA_NOTES)]
pub(super) struct CaArgs {
    /// What to do
    #[arg(value_enum, value_name = "WHAT")]
    what: What,

    /// Keep the authority in this directory [default: ~/.local/share/tcp_tunn/ca]
    #[arg(long, value_name = "DIR")]
    tls_ca: Option<PathBuf>,
}

const CA_NOTES: &str = "\
Whoever has the authority's private key can pretend to be any server to whoever trusts it. The key
is made at first use and stays in its directory, for you alone to read. Trust it only where you need
to, and remove it when you are done.

Examples:
  Have the programs of this shell trust it:
    eval \"$(tcp_tunn ca env)\"

  See which servers curl reaches through the tunnel:
    tcp_tunn --proxy 127.0.0.1:1080 --tls intercept &
    curl --cacert \"$(tcp_tunn ca path)\" --proxy socks5h://127.0.0.1:1080 https://example.com/";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Print the path of its certificate
    Path,
    /// Print its certificate
    Pem,
    /// Print the settings by which programs trust it, for a shell
    Env,
    /// Destroy it
    Remove,
}

/// Does what the arguments say.
pub(super) fn run(args: &CaArgs) -> ExitCode {
    let answer = match answer(args) {
        Ok(answer) => answer,
        Err(error) => {
            complain(super::report::with_causes(&error));
            return ExitCode::from(FAILED);
        }
    };
    match io::stdout().lock().write_all(&answer) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to stdout: {}", Sentence(&error)));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn answer(args: &CaArgs) -> anyhow::Result<Vec<u8>> {
    let store = store(args.tls_ca.as_deref())?;
    let path = store.certificate_path();
    match args.what {
        What::Path => {
            store.load()?;
            Ok(line(&path))
        }
        What::Pem => {
            store.load()?;
            Ok(std::fs::read(&path)?)
        }
        What::Env => {
            let settings = store.variables()?.into_iter().flat_map(|(name, path)| {
                let value = quoted(&path);
                [b"export ".as_slice(), name.as_bytes(), b"=", &value, b"\n"].concat()
            });
            Ok(settings.collect())
        }
        What::Remove => {
            let shown = path.parent().unwrap_or(&path).display().to_string();
            Ok(if store.remove()? {
                format!("removed the authority in {shown}\n")
            } else {
                format!("there is no authority in {shown}\n")
            }
            .into_bytes())
        }
    }
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

fn line(path: &Path) -> Vec<u8> {
    [bytes(path), b"\n"].concat()
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> Vec<u8> {
    let path = bytes(path);
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:,".contains(byte);
    if path.iter().all(is_plain) {
        return path.to_vec();
    }
    let mut quoted = vec![b'\''];
    for byte in path {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/home/me/ca.pem")), b"/home/me/ca.pem");
        assert_eq!(quoted(Path::new("/my home/it's")), br"'/my home/it'\''s'");
    }
}
