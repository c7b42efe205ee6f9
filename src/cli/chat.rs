//! The demo's chat: who is here, and who is told what. No sockets; [`demo`](super::demo) carries what it says.
//!
//! Each message is a text whose parts are separated by tabs:
//!
//! ```text
//! page → server   name ⇥ NAME              who I want to be
//!                 say ⇥ TEXT               a message to everybody
//! server → page   you ⇥ ID ⇥ NAME          who you are; again after every change
//!                 here ⇥ COUNT ⇥ ID ⇥ NAME ⇥ …  how many are here, and who, in the order they came
//!                 said ⇥ ID ⇥ NAME ⇥ TEXT  a message
//!                 note ⇥ TEXT              somebody came, left or changed names
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The longest name and the longest message, in characters. The page's fields stop there too.
const MAX_NAME: usize = 32;
const MAX_TEXT: usize = 2000;

/// How many names a list of those here shows at most: lists go to everybody, so their length squared is sent.
const MAX_LIST: usize = 100;

/// Everybody who is here.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    next: u64,
    names: BTreeMap<u64, String>,
}

/// What there is to send now, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// To the one who spoke.
    pub(crate) back: Vec<String>,
    /// To everybody, the one who spoke included.
    pub(crate) all: Vec<String>,
}

impl Chat {
    /// Somebody came, under a name like any other: which number they have from now on.
    pub(crate) fn join(&mut self) -> (u64, Said) {
        self.next += 1;
        let id = self.next;
        let name = format!("Guest {id}");
        let all = vec![format!("note\t{name} came."), self.here_with(id, &name)];
        (id, Said { back: vec![format!("you\t{id}\t{name}")], all })
    }

    /// Somebody left.
    pub(crate) fn leave(&mut self, id: u64) -> Said {
        match self.names.remove(&id) {
            Some(name) => Said { back: Vec::new(), all: vec![format!("note\t{name} left."), self.here()] },
            None => Said::default(),
        }
    }

    /// Somebody sent `text`. What makes no sense is answered to them alone.
    pub(crate) fn hear(&mut self, id: u64, text: &str) -> Said {
        let Some(name) = self.names.get(&id).cloned() else { return Said::default() };
        match text.split_once('\t') {
            Some(("say", text)) => match tidy(text, MAX_TEXT) {
                text if text.is_empty() => Said::default(),
                text => Said { back: Vec::new(), all: vec![format!("said\t{id}\t{name}\t{text}")] },
            },
            Some(("name", wanted)) => match tidy(wanted, MAX_NAME) {
                wanted if wanted.is_empty() || wanted == name => {
                    Said { back: vec![format!("you\t{id}\t{name}")], all: Vec::new() }
                }
                wanted => {
                    let all = vec![format!("note\t{name} is now {wanted}."), self.here_with(id, &wanted)];
                    Said { back: vec![format!("you\t{id}\t{wanted}")], all }
                }
            },
            _ => Said {
                back: vec!["note\tSend name, a tab and a name, or say, a tab and a text.".to_owned()],
                all: Vec::new(),
            },
        }
    }

    fn here_with(&mut self, id: u64, name: &str) -> String {
        self.names.insert(id, name.to_owned());
        self.here()
    }

    fn here(&self) -> String {
        let mut text = format!("here\t{}", self.names.len());
        for (id, name) in self.names.iter().take(MAX_LIST) {
            let _ = write!(text, "\t{id}\t{name}");
        }
        text
    }
}

/// One line of at most `max` characters: control characters, tabs among them, become spaces.
fn tidy(text: &str, max: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(max).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(back: &[&str], all: &[&str]) -> Said {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Said { back: owned(back), all: owned(all) }
    }

    #[test]
    fn a_conversation() {
        let mut chat = Chat::default();
        let (ada, welcome) = chat.join();
        assert_eq!(welcome, said(&["you\t1\tGuest 1"], &["note\tGuest 1 came.", "here\t1\t1\tGuest 1"]));
        let (bob, _) = chat.join();
        for (id, text, expected) in [
            (ada, "name\tAda", said(&["you\t1\tAda"], &["note\tGuest 1 is now Ada.", "here\t2\t1\tAda\t2\tGuest 2"])),
            (ada, "name\tAda", said(&["you\t1\tAda"], &[])),
            (ada, "name\t \x07 ", said(&["you\t1\tAda"], &[])),
            (ada, "say\tHello", said(&[], &["said\t1\tAda\tHello"])),
            (bob, "say\t a\tb\nc ", said(&[], &["said\t2\tGuest 2\ta b c"])),
            (bob, "say\t   ", said(&[], &[])),
            (bob, "shout\tHello", said(&["note\tSend name, a tab and a name, or say, a tab and a text."], &[])),
            (7, "say\tI am not here", said(&[], &[])),
        ] {
            assert_eq!(chat.hear(id, text), expected, "{text:?}");
        }
        assert_eq!(chat.leave(ada), said(&[], &["note\tAda left.", "here\t1\t2\tGuest 2"]));
        assert_eq!(chat.leave(ada), Said::default());
    }

    #[test]
    fn names_texts_and_lists_have_an_end() {
        let mut chat = Chat::default();
        let (id, _) = chat.join();
        let answer = chat.hear(id, &format!("name\t{}", "ü".repeat(99)));
        assert_eq!(answer.back, [format!("you\t1\t{}", "ü".repeat(MAX_NAME))]);
        let answer = chat.hear(id, &format!("say\t{}", "x".repeat(9999)));
        assert!(answer.all[0].ends_with(&format!("\t{}", "x".repeat(MAX_TEXT))) && answer.all[0].len() < 2100);
        for _ in 0..2 * MAX_LIST {
            chat.join();
        }
        assert_eq!(chat.leave(id).all[1].matches("\tGuest").count(), MAX_LIST);
    }
}
