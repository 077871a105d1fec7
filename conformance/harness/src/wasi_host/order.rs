//! What the host is told on its command line.

use std::ffi::OsString;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        /// A fault of a host that stands in for runtimes which have it, in the suite's tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $($(#[doc = $doc])* $name,)* }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];

            /// On the command line.
            pub fn word(self) -> &'static str {
                match self { $(Fault::$name => $word,)* }
            }
        }
    };
}

faults! {
    /// Leaves TERM and INT as they are, so that the kernel drops them.
    Deaf = "deaf",
    /// Takes INT for a signal like others.
    IgnoresInt = "ignores-int",
    /// Exits 1 on TERM.
    FailsOnTerm = "fails-on-term",
    /// Takes three seconds to end on TERM.
    Slow = "slow",
    /// Never waits for children.
    Negligent = "negligent",
    /// Waits for children only when the guest wakes.
    Tardy = "tardy",
    /// Looks at the clock instead of sleeping.
    Restless = "restless",
    /// Ends as soon as the guest waits.
    Ends = "ends",
}

/// An order for one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number of the descriptor from which the module is read.
    pub module: i32,
    /// Port of 127.0.0.1 on which the guest's descriptor 3 listens.
    pub listen: Option<u16>,
    /// Start a process that sleeps for ever, as some runtimes do.
    pub helper: bool,
    /// What to get wrong.
    pub fault: Option<Fault>,
}

impl Order {
    /// The words after the host's name.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![self.module.to_string()];
        words.extend(self.listen.map(|port| format!("listen={port}")));
        words.extend(self.helper.then(|| "helper".to_owned()));
        words.extend(self.fault.map(|fault| format!("fault={}", fault.word())));
        words
    }

    /// The order that such words give.
    ///
    /// # Errors
    /// The word that is none.
    pub fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let module = words.next().and_then(|word| word.to_str()?.parse().ok());
        let mut order = Self {
            module: module.ok_or("no descriptor of a module")?,
            listen: None,
            helper: false,
            fault: None,
        };
        for word in words {
            let word = word.to_string_lossy();
            let wrong = || format!("not understood: {word}");
            if word == "helper" {
                order.helper = true;
            } else if let Some(port) = word.strip_prefix("listen=") {
                order.listen = Some(port.parse().map_err(|_| wrong())?);
            } else {
                let fault = word.strip_prefix("fault=").ok_or_else(wrong)?;
                let fault = Fault::ALL.iter().find(|known| known.word() == fault);
                order.fault = Some(*fault.ok_or_else(wrong)?);
            }
        }
        Ok(order)
    }
}
