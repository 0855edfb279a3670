//! A real terminal, tmux's, in which the real program runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::events::PATIENCE;

/// A terminal of its own server, gone when dropped.
pub(crate) struct Terminal(TempDir);

/// What stood on the terminal when its command had ended.
pub(crate) struct Screen {
    /// What the terminal was sent, byte for byte.
    pub(crate) sent: String,
    /// What it showed: the lines as they were before they were wrapped at its width.
    pub(crate) lines: Vec<String>,
    /// What it showed, row by row.
    pub(crate) rows: Vec<String>,
}

impl Terminal {
    /// Runs a shell's command on a terminal of a given width in columns.
    pub(crate) fn start(columns: usize, command: &str) -> Self {
        let terminal = Self(tempfile::tempdir().unwrap());
        let config = "set -g history-limit 100000\nset -g status off\n";
        fs::write(terminal.file("tmux.conf"), config).unwrap();
        // It begins when all that is sent is recorded, and stays until the screen is read.
        // Ctrl-C is for the command alone.
        let command = format!(
            "trap : INT; cat {0}/go; {command}; echo has ended; cat {0}/go",
            terminal.path()
        );
        let mkfifo = Command::new("mkfifo").arg(terminal.file("go")).status().unwrap();
        assert!(mkfifo.success());
        let columns = columns.to_string();
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", "50", "sh", "-c", &command]);
        let record = format!("cat > {}/sent", terminal.path());
        terminal.tmux(&["pipe-pane", &record]);
        fs::write(terminal.file("go"), "").unwrap();
        terminal
    }

    /// Waits until `words` were sent to it; all that was sent so far.
    pub(crate) fn wait_for(&self, words: &str) -> String {
        let started = Instant::now();
        loop {
            let sent = fs::read(self.file("sent")).unwrap_or_default();
            let sent = String::from_utf8_lossy(&sent).into_owned();
            if sent.contains(words) {
                return sent;
            }
            assert!(started.elapsed() < PATIENCE, "no '{words}' in\n{sent}");
            sleep(Duration::from_millis(10));
        }
    }

    /// Types Ctrl-C, and waits for the end.
    pub(crate) fn interrupt(self) -> Screen {
        self.tmux(&["send-keys", "C-c"]);
        self.end()
    }

    /// Waits for the end.
    pub(crate) fn end(self) -> Screen {
        self.wait_for("has ended\r\n");
        let lines = self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]);
        let rows = self.tmux(&["capture-pane", "-p", "-S", "-"]);
        let sent = String::from_utf8(fs::read(self.file("sent")).unwrap()).unwrap();
        Screen { sent, lines: trimmed(&lines), rows: trimmed(&rows) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self) -> std::path::Display<'_> {
        self.0.path().display()
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = tmux(self.0.path(), args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tmux(self.0.path(), &["kill-server"]);
    }
}

/// What the one who runs the tests may have set, and what a terminal's colors depend on: `CI`
/// promises colors that `TERM` does not.
pub(crate) fn without_habits(command: &mut Command) -> &mut Command {
    for name in ["CI", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "NO_COLOR", "TMUX"] {
        command.env_remove(name);
    }
    command
}

fn tmux(folder: &Path, args: &[&str]) -> Output {
    without_habits(&mut Command::new("tmux"))
        .args(["-u", "-S"])
        .arg(folder.join("socket"))
        .arg("-f")
        .arg(folder.join("tmux.conf"))
        .args(args)
        .output()
        .unwrap()
}

/// The lines without what fills them up, up to the last that is not empty.
fn trimmed(text: &str) -> Vec<String> {
    text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
}
