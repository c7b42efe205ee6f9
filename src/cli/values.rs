//! The values that settings take: byte counts, times, counts above zero. Each reads what it prints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes above zero: `65536`, `64KiB`, `16MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, unit) = split_number(text);
        let scale = match unit {
            "" => 1,
            unit => UNITS
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit))
                .map(|(_, scale)| scale)
                .ok_or("write a number of bytes, alone or with KiB, MiB or GiB")?,
        };
        let number: usize = digits.parse().map_err(|_| "write a number of bytes, alone or with KiB, MiB or GiB")?;
        match number.checked_mul(scale) {
            Some(0) => Err("must be at least 1 byte".to_owned()),
            Some(bytes) => Ok(Self(bytes)),
            None => Err("more bytes than this machine can address".to_owned()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = UNITS
            .into_iter()
            .find(|(_, scale)| *scale > 1 && self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(("", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A time above zero: `20s`, `500ms`, `250us`, `2m`, `1h`; a number alone is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        let scale = match unit {
            "us" => 0.000_001,
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err("write a time such as 500ms, 20s, 2m or 1h".to_owned()),
        };
        let number: f64 = number.parse().map_err(|_| "write a time such as 500ms, 20s, 2m or 1h")?;
        match Duration::try_from_secs_f64(number * scale) {
            Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
            Ok(span) => Ok(Self(span)),
            Err(_) => Err("too long".to_owned()),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (micros, millis) = (self.0.as_micros(), self.0.as_millis());
        if !micros.is_multiple_of(1000) {
            write!(f, "{micros}us")
        } else if !millis.is_multiple_of(1000) {
            write!(f, "{millis}ms")
        } else if millis.is_multiple_of(3_600_000) {
            write!(f, "{}h", millis / 3_600_000)
        } else if millis.is_multiple_of(60_000) {
            write!(f, "{}m", millis / 60_000)
        } else {
            write!(f, "{}s", millis / 1000)
        }
    }
}

/// A value that can be switched off: `off`, or what `T` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrOff<T>(pub(crate) Option<T>);

impl<T: FromStr<Err = String>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            Ok(Self(None))
        } else {
            text.parse().map(|value| Self(Some(value))).map_err(|e| e + ", or off")
        }
    }
}

impl<T: fmt::Display> fmt::Display for OrOff<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// Reads a count above zero.
pub(crate) fn count<N: FromStr + Default + PartialEq>(text: &str) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if number == N::default() => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number, at least 1".to_owned()),
    }
}

/// Reads a count above zero, or `off`.
pub(crate) fn count_or_off(text: &str) -> Result<OrOff<u32>, String> {
    if text == "off" {
        Ok(OrOff(None))
    } else {
        count(text).map(|n| OrOff(Some(n))).map_err(|error| error + ", or off")
    }
}

/// The leading number of a text, and its unit.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_what_they_print() {
        for (text, bytes, printed) in [
            ("1", 1, "1"),
            ("1023", 1023, "1023"),
            ("1024", 1024, "1KiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("16mib", 16 << 20, "16MiB"),
            ("2GiB", 2 << 30, "2GiB"),
            ("512B", 512, "512"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed), "{text}");
            assert_eq!(printed.parse(), Ok(size));
        }
        for text in ["", "0", "0KiB", "-1", "1.5MiB", "1MB", "KiB", "99999999999999999999", "18446744073709551615KiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_read_what_they_print() {
        for (text, millis, printed) in [
            ("5", 5000, "5s"),
            ("0.25", 250, "250ms"),
            ("500ms", 500, "500ms"),
            ("20000us", 20, "20ms"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("1.5h", 5_400_000, "90m"),
            ("24h", 86_400_000, "24h"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (Duration::from_millis(millis), printed), "{text}");
            assert_eq!(printed.parse(), Ok(span));
        }
        assert_eq!("250us".parse(), Ok(Span(Duration::from_micros(250))));
        assert_eq!(Span(Duration::from_micros(1500)).to_string(), "1500us");
        for text in ["", "0", "0ms", "-1s", "s", "1d", "1.2.3s", "99999999999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_may_be_off_can_be_switched_off() {
        assert_eq!("off".parse(), Ok(OrOff::<Span>(None)));
        assert_eq!("25s".parse(), Ok(OrOff(Some(Span(Duration::from_secs(25))))));
        assert!("0".parse::<OrOff<Span>>().is_err(), "0 would be read as `no time` by some and `no limit` by others");
        assert!("off".parse::<Span>().is_err());
    }

    #[test]
    fn a_count_of_zero_is_refused() {
        assert_eq!(count::<u32>("1"), Ok(1));
        for text in ["0", "", "-1", "1.0", "4294967296"] {
            assert!(count::<u32>(text).is_err(), "{text}");
        }
    }
}
