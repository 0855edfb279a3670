//! What the operating system reports, as text for people.

use std::fmt;
use std::io;

/// Shows an error without the number that [`io::Error`] puts after its sentence, as in
/// `(os error 2)`.
///
/// ```
/// use tcp_tunn::os_error::Sentence;
///
/// let error = std::fs::File::open("/no/such/file").unwrap_err();
/// assert_eq!(Sentence(&error).to_string(), "No such file or directory");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sentence<'a>(pub &'a io::Error);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self.0.raw_os_error().map(|number| format!(" (os error {number})"));
        let sentence = number.and_then(|number| text.strip_suffix(&number));
        f.write_str(sentence.unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_the_system_is_left_out() {
        let system = io::Error::from_raw_os_error(2);
        assert_eq!(Sentence(&system).to_string(), "No such file or directory");
        for text in ["it broke", "it broke (os error 2)"] {
            assert_eq!(Sentence(&io::Error::other(text)).to_string(), text);
        }
    }
}
