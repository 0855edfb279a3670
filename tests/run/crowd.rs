//! Programs that connect very often at a time.

use std::process::Command;

use super::{run, text};

#[test]
fn crowd_of_connects_goes_as_without_the_tunnel() {
    let program = ["python3", "-c", include_str!("crowd.py")];
    let direct = Command::new(program[0]).args(&program[1..]).output().unwrap();
    let words = "threads {'good': 200}\nat once True True 2\n\
                 failing ECONNREFUSED\nfailing ENETUNREACH\n";
    assert_eq!(text(&direct.stdout), words, "{direct:?}");
    let caught = run(&["-q"], &program);
    assert_eq!(text(&caught.stdout), words, "{caught:?}");
    assert_eq!(caught.status.code(), Some(0), "{caught:?}");
}
