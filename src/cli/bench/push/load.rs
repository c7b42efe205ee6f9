//! Subscribers that count what they get, and publishers that number what they publish.
//!
//! Each channel's publications are numbered from 1, so a subscriber knows of each whether it is the next one, whether some
//! before it are missing, and whether it came before. When it was due follows from its number.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Instant;

use serde::Deserialize;

use super::super::drive::Load;
use super::super::opening::Opened;
use super::super::schedule::Schedule;
use super::super::stats::{Stats, nanos};
use super::client::{Client, number_after};
use crate::cli::Failure;

/// Bytes read at once.
const READ: usize = 128 << 10;

/// The measurement. Subscribers have the first tokens, the publishers those behind.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) channels: Vec<Channel>,
    /// Those that are connected, and what they have seen also when they are not.
    pub(super) subscribers: Vec<Subscriber>,
    publishers: Vec<Option<Client>>,
    connect: String,
    rate: u32,
    schedule: Option<Schedule>,
    /// Latencies of publications that were due in this time count.
    window: Range<u64>,
    beginning: Instant,
    is_running: bool,
    /// What fills the publications up to their size.
    filling: String,
    /// Answers to come: of subscribers, and of publishers.
    pub(super) unanswered: u64,
    pub(super) unacknowledged: u64,
    /// Deliveries to come.
    missing: u64,
    pub(super) counts: Counts,
    pub(super) stats: Stats,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Channel {
    name: String,
    /// Of its stream, as its first subscriber was told.
    epoch: String,
    published: u64,
    /// Subscribers that are connected.
    subscribers: u64,
}

#[derive(Debug, Default)]
pub(super) struct Subscriber {
    client: Option<Client>,
    channel: usize,
    /// Where the stream stood before the first publication, and the number of the last one that came.
    base: u64,
    last: u64,
    /// Nanoseconds from the beginning to when it had recovered.
    pub(super) recovered: Option<u64>,
    is_recovering: bool,
}

/// What became of all publications.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) acknowledged: u64,
    /// Deliveries that never came.
    pub(super) lost: u64,
    /// Deliveries that came more than once.
    pub(super) doubled: u64,
    /// Publications that recoveries brought.
    pub(super) recovered: u64,
}

/// What a subscriber is told besides publications.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    id: u64,
    error: Option<Refusal>,
    subscribe: Option<Subscribed>,
    push: Option<Pushed>,
}

#[derive(Deserialize)]
struct Refusal {
    code: u32,
    message: String,
}

#[derive(Deserialize)]
struct Subscribed {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    recovered: bool,
    #[serde(default)]
    publications: Vec<Recovered>,
}

#[derive(Deserialize)]
struct Recovered {
    data: Numbered,
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

#[derive(Deserialize)]
struct Pushed {
    disconnect: Option<Gone>,
    unsubscribe: Option<Gone>,
}

#[derive(Deserialize)]
struct Gone {
    code: u32,
    #[serde(default)]
    reason: String,
}

/// The command that comes after connect.
const SUBSCRIBE: u64 = 2;

impl Push {
    pub(super) fn new(
        subscribers: usize,
        channels: usize,
        prefix: &str,
        token: Option<&str>,
        size: usize,
        rate: u32,
    ) -> Result<Self, Failure> {
        let channel =
            |index| Channel { name: format!("{prefix}{index}"), epoch: String::new(), published: 0, subscribers: 0 };
        let token = token.map(|token| format!(r#""token":"{token}""#)).unwrap_or_default();
        Ok(Self {
            channels: (0..channels).map(channel).collect(),
            subscribers: (0..subscribers)
                .map(|index| Subscriber { channel: index % channels, ..Subscriber::default() })
                .collect(),
            publishers: Vec::new(),
            connect: format!(r#"{{"id":1,"connect":{{{token}}}}}"#),
            rate,
            schedule: None,
            window: 0..u64::MAX,
            beginning: Instant::now(),
            is_running: false,
            filling: "x".repeat(size.saturating_sub(r#"{"n":0000000,"x":""}"#.len())),
            unanswered: 0,
            unacknowledged: 0,
            missing: 0,
            counts: Counts::default(),
            stats: Stats::new()?,
            buffer: vec![0; READ],
        })
    }

    /// These are the subscribers from `first` on: they subscribe, or come back to where they were.
    pub(super) fn subscribe(&mut self, first: usize, opened: Vec<Opened>, recover: bool) {
        for (token, opened) in (first..).zip(opened) {
            let subscriber = &mut self.subscribers[token];
            let channel = &mut self.channels[subscriber.channel];
            let mut client = Client::new(opened);
            let mut text = self.connect.clone();
            let _ = write!(text, "\n{{\"id\":{SUBSCRIBE},\"subscribe\":{{\"channel\":\"{}\"", channel.name);
            if recover {
                let (offset, epoch) = (subscriber.base + subscriber.last, &channel.epoch);
                let _ = write!(text, r#","recover":true,"offset":{offset},"epoch":"{epoch}""#);
            }
            text.push_str("}}");
            client.say(&text);
            subscriber.client = Some(client);
            subscriber.is_recovering = recover;
            channel.subscribers += 1;
            self.unanswered += 1;
            self.turn(token);
        }
    }

    /// These are the publishers.
    pub(super) fn publish_by(&mut self, opened: Vec<Opened>) {
        for opened in opened {
            let mut client = Client::new(opened);
            client.say(&self.connect);
            self.publishers.push(Some(client));
            self.unacknowledged += 1;
            self.turn(self.subscribers.len() + self.publishers.len() - 1);
        }
    }

    /// All subscribers are gone at once.
    pub(super) fn cut_subscribers(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.client = None;
            subscriber.recovered = None;
        }
        self.channels.iter_mut().for_each(|channel| channel.subscribers = 0);
        self.missing = 0;
    }

    /// The publishers are gone as well.
    pub(super) fn cut_publishers(&mut self) {
        self.publishers.clear();
        self.unacknowledged = 0;
    }

    /// Publishes so many publications to each channel, at once.
    pub(super) fn publish_to_all(&mut self, each: u64) {
        for channel in 0..self.channels.len() {
            for _ in 0..each {
                self.publish(channel);
            }
        }
        self.flush_publishers();
    }

    /// The time since the beginning, and from now on.
    pub(super) fn begin_anew(&mut self) {
        self.beginning = Instant::now();
        self.is_running = false;
    }

    /// Gives every connection a turn: events were for others meanwhile.
    pub(super) fn turn_all(&mut self) {
        for token in 0..self.subscribers.len() + self.publishers.len() {
            self.turn(token);
        }
    }

    /// Counts what was not delivered.
    pub(super) fn settle(&mut self) {
        self.counts.lost += self.missing;
        let (missing, unacknowledged) = (self.missing as usize, self.unacknowledged as usize);
        self.stats.error(missing, || "a publication was not delivered within --answer-timeout".to_owned());
        self.stats.error(unacknowledged, || "a publish was not acknowledged within --answer-timeout".to_owned());
        self.stats
            .error(self.unanswered as usize, || "a subscription was not answered within --answer-timeout".to_owned());
        (self.missing, self.unanswered) = (0, 0);
    }

    pub(super) fn close(&mut self) {
        let subscribers = self.subscribers.iter_mut().filter_map(|subscriber| subscriber.client.as_mut());
        for client in subscribers.chain(self.publishers.iter_mut().flatten()) {
            client.close();
        }
    }

    fn publish(&mut self, index: usize) {
        let publisher = index % self.publishers.len().max(1);
        let Some(Some(client)) = self.publishers.get_mut(publisher) else { return };
        let channel = &mut self.channels[index];
        channel.published += 1;
        self.counts.published += 1;
        self.unacknowledged += 1;
        self.missing += channel.subscribers;
        let (id, name, n) = (self.counts.published + SUBSCRIBE, &channel.name, channel.published);
        client.say(&format!(
            r#"{{"id":{id},"publish":{{"channel":"{name}","data":{{"n":{n},"x":"{}"}}}}}}"#,
            self.filling
        ));
    }

    fn flush_publishers(&mut self) {
        for index in 0..self.publishers.len() {
            if let Some(client) = &mut self.publishers[index]
                && let Err(loss) = client.flush()
            {
                self.lose_publisher(index, &loss);
            }
        }
    }

    fn lose_publisher(&mut self, index: usize, loss: &str) {
        self.publishers[index] = None;
        self.stats.error(1, || format!("a publisher: {loss}"));
    }

    fn publisher_turn(&mut self, index: usize) {
        let Some(Some(client)) = self.publishers.get_mut(index) else { return };
        let (stats, counts, unacknowledged) = (&mut self.stats, &mut self.counts, &mut self.unacknowledged);
        let received = client.receive(&mut self.buffer, |line| {
            *unacknowledged = unacknowledged.saturating_sub(1);
            let has = |word: &[u8]| line.windows(word.len()).any(|window| window == word);
            if has(br#""publish":"#) {
                counts.acknowledged += 1;
            } else if !has(br#""connect":"#) {
                stats.error(1, || format!("a publisher was told: {}", String::from_utf8_lossy(line)));
            }
        });
        if let Err(loss) = received.and_then(|_| client.flush()) {
            self.lose_publisher(index, &loss);
        }
    }

    /// A line that is no publication.
    fn told(&mut self, token: usize, line: &[u8]) {
        let subscriber = &mut self.subscribers[token];
        let channel = &mut self.channels[subscriber.channel];
        let Ok(told) = serde_json::from_slice::<Told>(line) else {
            return self.stats.error(1, || format!("not a reply: {}", String::from_utf8_lossy(line)));
        };
        if let Some(error) = told.error {
            self.unanswered = self.unanswered.saturating_sub(1);
            return self.stats.error(1, || format!("a subscriber was refused: {} {}", error.code, error.message));
        }
        if let Some(gone) = told.push.and_then(|push| push.disconnect.or(push.unsubscribe)) {
            return self.stats.error(1, || format!("a subscriber was sent away: {} {}", gone.code, gone.reason));
        }
        let Some(answer) = told.subscribe.filter(|_| told.id == SUBSCRIBE) else { return };
        self.unanswered = self.unanswered.saturating_sub(1);
        if !subscriber.is_recovering {
            subscriber.base = answer.offset - channel.published.min(answer.offset);
            subscriber.last = channel.published;
            channel.epoch = answer.epoch;
            return;
        }
        for publication in &answer.publications {
            if publication.data.n == subscriber.last + 1 {
                subscriber.last += 1;
                self.counts.recovered += 1;
            }
        }
        let lost = channel.published - subscriber.last;
        if answer.recovered && lost == 0 {
            subscriber.recovered = Some(nanos(self.beginning.elapsed()));
        }
        self.counts.lost += lost;
        self.stats.error(lost as usize, || {
            let how = if answer.recovered { "recovered with a gap" } else { "not recovered" };
            format!("{how}: {lost} publications are missing")
        });
        subscriber.last = channel.published;
    }

    fn delivered(&mut self, token: usize, number: u64, now: u64) {
        let subscriber = &mut self.subscribers[token];
        if number <= subscriber.last {
            self.counts.doubled += 1;
            return self.stats.error(1, || "a publication was delivered twice".to_owned());
        }
        let gap = number - subscriber.last - 1;
        subscriber.last = number;
        self.missing = self.missing.saturating_sub(gap + 1);
        self.counts.lost += gap;
        self.stats.error(gap as usize, || "a publication is missing between others".to_owned());
        if self.is_running {
            self.stats.messages += 1;
        }
        if let Some(schedule) = &self.schedule {
            let due = schedule.due_on(subscriber.channel, number - 1);
            if self.window.contains(&due) {
                self.stats.took(now.saturating_sub(due), 1);
            }
        }
    }

    fn subscriber_turn(&mut self, token: usize) {
        let Some(mut client) = self.subscribers.get_mut(token).and_then(|subscriber| subscriber.client.take()) else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let now = nanos(self.beginning.elapsed());
        let received = client.receive(&mut buffer, |line| {
            let is_push = line.starts_with(br#"{"push""#);
            match is_push.then(|| number_after(line, br#""data":{"n":"#)).flatten() {
                Some(number) => self.delivered(token, number, now),
                None => self.told(token, line),
            }
        });
        self.buffer = buffer;
        if self.is_running {
            self.stats.bytes += *received.as_ref().unwrap_or(&0);
        }
        match received.and_then(|_| client.flush()) {
            Ok(()) => self.subscribers[token].client = Some(client),
            Err(loss) => {
                let Subscriber { channel, last, .. } = self.subscribers[token];
                let channel = &mut self.channels[channel];
                channel.subscribers -= 1;
                let missed = channel.published - last;
                self.missing = self.missing.saturating_sub(missed);
                self.counts.lost += missed;
                self.stats.error(1, || format!("a subscriber: {loss}"));
            }
        }
    }
}

impl Load for Push {
    fn begin(&mut self, beginning: Instant, window: Range<u64>) {
        self.beginning = beginning;
        self.window = window;
        self.is_running = true;
        self.schedule = Some(Schedule::new(self.rate, self.channels.len(), 0));
    }

    fn turn(&mut self, token: usize) {
        match token.checked_sub(self.subscribers.len()) {
            Some(index) => self.publisher_turn(index),
            None => self.subscriber_turn(token),
        }
    }

    fn due(&mut self, now: u64) {
        let mut any = false;
        while let Some(channel) = self.schedule.as_mut().filter(|_| self.is_running).and_then(|it| it.deal(now)) {
            self.publish(channel);
            any = true;
        }
        if any {
            self.flush_publishers();
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.schedule.as_ref().filter(|_| self.is_running).map(Schedule::next_due)
    }

    fn is_over(&self) -> bool {
        self.publishers.iter().all(Option::is_none) || self.subscribers.iter().all(|it| it.client.is_none())
    }

    fn stop(&mut self, _now: u64) {
        self.is_running = false;
    }

    fn under_way(&self) -> usize {
        (self.unanswered + self.unacknowledged + self.missing) as usize
    }

    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }
}
