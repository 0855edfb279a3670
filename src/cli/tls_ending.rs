//! TLS that ends in the tunnel: `--tls intercept`, `terminate` and `originate`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tcp_tunn::ingress::{Filter, Pattern};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::KeyLogFile;
use tcp_tunn::tls::{Authority, AuthorityStore, Identity, PemError, ServerTrust, TlsEnder};
use zeroize::Zeroizing;

use super::report::file_hint;
use super::tls_mode::TlsMode;
use super::values::pattern;

/// How TLS ends in the tunnel.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "TLS options")]
pub(super) struct TlsEndingArgs {
    /// Append the secrets of the tunnel's own TLS to this file
    ///
    /// Append the secrets of the tunnel's own TLS to this file, for Wireshark and others. Whoever
    /// can read it can read the connections; only its owner can.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_keylog_out: Option<PathBuf>,

    /// Keep the local authority in this directory [default: ~/.local/share/tcp_tunn/ca]
    ///
    /// Keep the local authority, in whose name --tls intercept answers clients, in this directory.
    /// It is made at first use. [default: ~/.local/share/tcp_tunn/ca]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    tls_ca: Option<PathBuf>,

    /// Show clients this certificate, in PEM, for --tls terminate
    ///
    /// Show clients this certificate, in PEM, for --tls terminate, with those that vouch for it
    /// behind it.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert, in PEM [default: it is in the same file]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_key: Option<PathBuf>,

    /// Trust these, too, as authorities of servers, in PEM
    ///
    /// Trust these, too, as authorities of servers, in PEM. A server's own certificate is trusted
    /// for its names. What the system trusts is trusted in any case.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_trust: Vec<PathBuf>,

    /// Take every certificate that a server shows
    ///
    /// Take every certificate that a server shows, so that anybody may pretend to be the server.
    #[arg(long, hide_short_help = true)]
    tls_insecure: bool,

    /// Show servers this certificate, in PEM, when they ask who their client is
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_client_cert: Option<PathBuf>,

    /// The private key of --tls-client-cert, in PEM [default: it is in the same file]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    tls_client_key: Option<PathBuf>,

    /// Leave the TLS of these servers alone
    ///
    /// Leave the TLS of these servers alone, such as those whose clients trust one certificate
    /// only: HOST, *.HOST, an address or a network, each with :PORT, or :PORT. May be given more
    /// than once.
    #[arg(long, value_name = "PATTERN", hide_short_help = true, value_parser = pattern())]
    tls_pass: Vec<Pattern>,
}

impl TlsEndingArgs {
    /// What cannot work under a mode, if anything.
    pub(super) fn check(&self, mode: Option<TlsMode>) -> Result<(), String> {
        use TlsMode::{Intercept, Originate, Terminate};
        let ends: &[TlsMode] = &[Intercept, Terminate, Originate];
        let reaches: &[TlsMode] = &[Intercept, Originate];
        let given = [
            ("--tls-keylog-out", self.tls_keylog_out.is_some(), ends),
            ("--tls-ca", self.tls_ca.is_some(), &[Intercept]),
            ("--tls-cert", self.tls_cert.is_some(), &[Terminate]),
            ("--tls-key", self.tls_key.is_some(), &[Terminate]),
            ("--tls-trust", !self.tls_trust.is_empty(), reaches),
            ("--tls-insecure", self.tls_insecure, reaches),
            ("--tls-client-cert", self.tls_client_cert.is_some(), reaches),
            ("--tls-client-key", self.tls_client_key.is_some(), reaches),
            ("--tls-pass", !self.tls_pass.is_empty(), ends),
        ];
        for (option, is_given, modes) in given {
            if is_given && !mode.is_some_and(|mode| modes.contains(&mode)) {
                let try_this = modes.first().map_or("", |mode| mode.name());
                return Err(format!(
                    "{option} has no effect here (try '--tls {try_this}' with it)"
                ));
            }
        }
        if mode == Some(Terminate) && self.tls_cert.is_none() {
            let what = "--tls terminate needs a certificate (give '--tls-cert FILE')";
            return Err(what.to_owned());
        }
        if self.tls_client_key.is_some() && self.tls_client_cert.is_none() {
            let what = "--tls-client-key needs its certificate (give '--tls-client-cert FILE')";
            return Err(what.to_owned());
        }
        Ok(())
    }

    /// Where the authority is kept.
    pub(super) fn store(&self) -> anyhow::Result<AuthorityStore> {
        store(self.tls_ca.as_deref())
    }

    /// What ends TLS under a mode, if anything.
    pub(super) fn ender(&self, mode: Option<TlsMode>) -> anyhow::Result<Option<TlsEnder>> {
        let ender = match mode {
            Some(TlsMode::Intercept) => {
                let authority: Authority = self.store()?.load()?;
                TlsEnder::intercept(authority, self.trust()?)
            }
            Some(TlsMode::Terminate) => {
                let Some(certificate) = &self.tls_cert else { return Ok(None) };
                TlsEnder::terminate(identity(certificate, self.tls_key.as_deref())?)
            }
            Some(TlsMode::Originate) => TlsEnder::originate(self.trust()?),
            _ => return Ok(None),
        };
        Ok(Some(ender?))
    }

    /// The servers that are left alone.
    pub(super) fn pass(&self) -> Filter {
        Filter::new(self.tls_pass.clone(), Vec::new())
    }

    /// The sink that keeps the tunnel's own secrets, if it is wanted, and its file.
    pub(super) fn key_log_out(&self) -> anyhow::Result<Option<(KeyLogFile, &Path)>> {
        let Some(path) = &self.tls_keylog_out else { return Ok(None) };
        match KeyLogFile::append(path) {
            Ok(sink) => Ok(Some((sink, path))),
            Err(error) => {
                let (shown, hint) = (path.display(), file_hint(&error));
                let error = Sentence(&error);
                Err(anyhow!("cannot append to the key log '{shown}': {error} ({hint})"))
            }
        }
    }

    fn trust(&self) -> anyhow::Result<ServerTrust> {
        let mut trust = ServerTrust::system();
        for path in &self.tls_trust {
            trust = trust.trust_pem(&read(path)?).with_context(|| of_no_use(path))?;
        }
        if self.tls_insecure {
            tracing::warn!("--tls-insecure: anybody on the way may pretend to be a server");
            trust = trust.take_all();
        }
        if let Some(certificate) = &self.tls_client_cert {
            trust = trust.identity(identity(certificate, self.tls_client_key.as_deref())?);
        }
        Ok(trust)
    }
}

/// The store in a directory, or the user's own.
pub(super) fn store(folder: Option<&Path>) -> anyhow::Result<AuthorityStore> {
    match folder {
        // Programs in other folders read it, too.
        Some(folder) => Ok(AuthorityStore::new(std::path::absolute(folder)?)),
        None => Ok(AuthorityStore::of_user()?),
    }
}

/// A certificate and its key, which may stand in the same file.
fn identity(certificate: &Path, key: Option<&Path>) -> anyhow::Result<Identity> {
    let chain = Zeroizing::new(read(certificate)?);
    let key_path = key.unwrap_or(certificate);
    let key = Zeroizing::new(read(key_path)?);
    Identity::from_pem(&chain, &key).map_err(|error| {
        let is_of_key = matches!(error, PemError::NoKey | PemError::DamagedKey);
        let path = if is_of_key { key_path } else { certificate };
        anyhow::Error::new(error).context(of_no_use(path))
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let (path, why) = (path.display(), Sentence(&error));
        anyhow!("cannot read '{path}': {why} (give a file that you may read)")
    })
}

fn of_no_use(path: &Path) -> String {
    format!("cannot use '{}'", path.display())
}
