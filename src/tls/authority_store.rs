//! Where the local authority is kept.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use zeroize::Zeroizing;

use super::end::{Authority, AuthorityError, certificates};
use crate::os_error::Sentence;

const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const BUNDLE: &str = "bundle.pem";
/// Characters of a line of PEM (RFC 7468 section 2).
const PEM_LINE: usize = 64;

/// What programs read to learn whom they trust. OpenSSL, Go and Python read the first; Node.js
/// reads the last beside the authorities of its own.
const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "NODE_EXTRA_CA_CERTS",
];

/// Why the authority cannot be had, or not be removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing says where it is.
    #[error("there is no place for the authority (set HOME, or try '--tls-ca DIR')")]
    NoPlace,
    /// Others may read or replace it.
    #[error(
        "'{}' is not safe: {why} (try 'chmod {mode} {}', or make a new one with 'tcp_tunn ca \
         remove')",
        .path.display(), .path.display()
    )]
    Loose {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
        /// What it should be.
        mode: &'static str,
    },
    /// It is there, but of no use.
    #[error(
        "the authority in '{}' is of no use: {source} (make a new one with 'tcp_tunn ca remove')",
        .path.display()
    )]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        source: AuthorityError,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} '{}': {} (try '--tls-ca DIR')", .path.display(), Sentence(.source))]
    Io {
        /// What failed: `read`, `write`, ...
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A directory with an [`Authority`]: its certificate, its private key, and the certificates of all
/// whom this machine trusts, with its own.
///
/// The directory and the key are its owner's alone; if they are not, they are refused.
#[derive(Clone, Debug)]
pub struct AuthorityStore {
    folder: PathBuf,
}

impl AuthorityStore {
    /// The store in this directory.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's own store: `$XDG_DATA_HOME/tcp_tunn/ca`, or `~/.local/share/tcp_tunn/ca`.
    ///
    /// # Errors
    ///
    /// The environment does not say where the user's files are.
    pub fn of_user() -> Result<Self, StoreError> {
        let folder = |name| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let home = || Some(folder("HOME")?.join(".local/share"));
        let data = folder("XDG_DATA_HOME").or_else(home).ok_or(StoreError::NoPlace)?;
        Ok(Self::new(data.join("tcp_tunn/ca")))
    }

    /// The authority's certificate, in PEM.
    pub fn certificate_path(&self) -> PathBuf {
        self.folder.join(CERTIFICATE)
    }

    /// The authority; it is made where there is none yet.
    ///
    /// # Errors
    ///
    /// It cannot be made, is damaged or has expired, or others may read it.
    pub fn load(&self) -> Result<Authority, StoreError> {
        let _lock = self.open()?;
        self.load_locked()
    }

    fn load_locked(&self) -> Result<Authority, StoreError> {
        let now = SystemTime::now();
        if !self.certificate_path().exists() {
            self.make(now)?;
        }
        let key = self.folder.join(KEY);
        check(&key, "600")?;
        let certificate = self.read(CERTIFICATE)?;
        let key = Zeroizing::new(self.read(KEY)?);
        Authority::from_pem(&certificate, &key, now)
            .map_err(|source| StoreError::Damaged { path: self.folder.clone(), source })
    }

    /// The environment of programs that are to trust the authority: names, and files that are
    /// written here. What the machine trusts, and what the environment names already, they trust as
    /// well.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn variables(&self) -> Result<Vec<(&'static str, PathBuf)>, StoreError> {
        let _lock = self.open()?;
        let authority = self.load_locked()?;
        let mut all = vec![authority.certificate().to_vec()];
        let system = rustls_native_certs::load_native_certs().certs;
        for other in system.iter().map(|other| other.to_vec()).chain(Self::named_by_user()) {
            if !all.contains(&other) {
                all.push(other);
            }
        }
        let bundle: String = all.iter().map(|certificate| to_pem(certificate)).collect();
        self.write(BUNDLE, bundle.as_bytes())?;
        let path = self.folder.join(BUNDLE);
        Ok(VARIABLES.into_iter().map(|name| (name, path.clone())).collect())
    }

    /// The certificates in the files that the environment names already.
    fn named_by_user() -> impl Iterator<Item = Vec<u8>> {
        let files = VARIABLES.into_iter().filter_map(std::env::var_os);
        let found = files.filter_map(|path| fs::read(path).ok());
        found.flat_map(|pem| certificates(&pem))
    }

    /// Destroys the authority: its key is overwritten, and all of its files are removed. Whether
    /// there was one.
    ///
    /// # Errors
    ///
    /// A file cannot be overwritten or removed.
    pub fn remove(&self) -> Result<bool, StoreError> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let folder = File::open(&self.folder).map_err(failed("read", &self.folder))?;
        // Some file systems know no locks.
        let _ = flock(&folder, FlockOperation::LockExclusive);
        let key = self.folder.join(KEY);
        // What a link leads to is not ours.
        if let Ok(meta) = fs::symlink_metadata(&key)
            && meta.is_file()
        {
            let zeros = vec![0; usize::try_from(meta.len()).unwrap_or(0)];
            let file = OpenOptions::new().write(true).open(&key);
            let wiped =
                file.and_then(|mut file| file.write_all(&zeros).and_then(|()| file.sync_all()));
            wiped.map_err(failed("overwrite", &key))?;
        }
        let mut has_been = false;
        for name in [KEY, CERTIFICATE, BUNDLE] {
            let path = self.folder.join(name);
            match fs::remove_file(&path) {
                Ok(()) => has_been = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("remove", &path)(error)),
            }
        }
        // Something of the user's own may lie there.
        let _ = fs::remove_dir(&self.folder);
        Ok(has_been)
    }

    /// Makes the directory if need be, and takes it for this process alone.
    fn open(&self) -> Result<File, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(failed("make", &self.folder))?;
        check(&self.folder, "700")?;
        let folder = File::open(&self.folder).map_err(failed("read", &self.folder))?;
        // Some file systems know no locks.
        let _ = flock(&folder, FlockOperation::LockExclusive);
        Ok(folder)
    }

    fn make(&self, now: SystemTime) -> Result<(), StoreError> {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let made = Authority::generate(&format!("tcp_tunn {user}@{host}"), now);
        let made =
            made.map_err(|source| StoreError::Damaged { path: self.folder.clone(), source })?;
        // Without the certificate there is no authority: it comes last.
        self.write(KEY, made.key.as_bytes())?;
        self.write(CERTIFICATE, made.certificate.as_bytes())
    }

    fn read(&self, name: &str) -> Result<String, StoreError> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(failed("read", &path))
    }

    /// Writes a file whole, or not at all.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!(".{name}.new")));
        let _ = fs::remove_file(&new);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let written =
            file.and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&new, &path)).map_err(failed("write", &path))
    }
}

/// Tells what failed, and on what.
fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path: path.clone(), source }
}

/// Refuses what others may read, write or own.
fn check(path: &Path, mode: &'static str) -> Result<(), StoreError> {
    let meta = fs::symlink_metadata(path).map_err(failed("read", path))?;
    let why = if meta.is_symlink() {
        "it is a link"
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if meta.mode() & 0o077 != 0 {
        "others may read it"
    } else {
        return Ok(());
    };
    Err(StoreError::Loose { path: path.to_owned(), why, mode })
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    // Base64 is ASCII.
    let lines = text.as_bytes().chunks(PEM_LINE).map(String::from_utf8_lossy);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in lines {
        pem.push_str(&line);
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, AuthorityStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = AuthorityStore::new(folder.path().join("data/ca"));
        (folder, store)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn authority_is_made_once_and_its_owners_alone() {
        let (_folder, store) = store();
        let first = store.load().unwrap().certificate().to_vec();
        assert_eq!(store.load().unwrap().certificate(), first);
        assert_eq!(mode(&store.folder), 0o700);
        assert_eq!(mode(&store.folder.join(KEY)), 0o600);
    }

    #[test]
    fn loose_permissions_are_refused() {
        for (name, loose) in [("", 0o750), (KEY, 0o640)] {
            let (_folder, store) = store();
            store.load().unwrap();
            let path = store.folder.join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("others may read it"), "{error}");
        }
    }

    #[test]
    fn removed_authority_is_another_one_afterwards() {
        let (_folder, store) = store();
        let first = store.load().unwrap().certificate().to_vec();
        store.variables().unwrap();
        assert!(store.remove().unwrap());
        assert!(!store.folder.exists());
        assert!(!store.remove().unwrap());
        assert_ne!(store.load().unwrap().certificate(), first);
    }

    #[test]
    fn damaged_files_are_refused() {
        for name in [KEY, CERTIFICATE] {
            let (_folder, store) = store();
            store.load().unwrap();
            fs::write(store.folder.join(name), "nonsense").unwrap();
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("is of no use") && error.contains("ca remove"), "{error}");
        }
    }

    #[test]
    fn key_of_another_authority_is_refused() {
        let ((_one, first), (_two, second)) = (store(), store());
        first.load().unwrap();
        second.load().unwrap();
        fs::copy(first.folder.join(KEY), second.folder.join(KEY)).unwrap();
        let error = second.load().unwrap_err().to_string();
        assert!(error.contains("belongs to another certificate"), "{error}");
    }

    #[test]
    fn variables_name_files_that_are_there() {
        let (_folder, store) = store();
        for (name, path) in store.variables().unwrap() {
            let own = fs::read_to_string(store.certificate_path()).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(own.trim()), "{name}");
        }
    }
}
