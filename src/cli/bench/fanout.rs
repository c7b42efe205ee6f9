//! `loopwire bench fanout`: one publisher, many subscribers, and how soon each has what was published.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use clap::Args;
use loopwire::wire::Opcode;
use mio::Poll;
use serde::Serialize;

use super::super::Failure;
use super::super::dial::url;
use super::super::values::{Size, Span, count};
use super::drive::{Load, settle};
use super::kind::{Kind, Steady};
use super::link::{Link, Loss, READ};
use super::opening::Opened;
use super::payloads::{Content, Payloads};
use super::pool;
use super::progress::Progress;
use super::replies::{Judge, Replies};
use super::report::{float, grouped};
use super::schedule::Schedule;
use super::stats::{Stats, nanos};
use super::target::{Target, TargetArgs};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Subscribers. The publisher is a connection more, and what it receives is ignored
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1000)]
    subscribers: usize,

    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = Size(128))]
    size: Size,

    /// Send binary messages; without it they are text
    #[arg(long)]
    binary: bool,

    /// Messages published by one write; the next follow when all subscribers have all of them
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1)]
    batch: usize,

    /// Publish so many messages per second instead, whether or not those before have arrived. Latency then counts from
    /// when a message was due
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    rate: Option<u32>,

    /// Have every subscriber send this text first. What the server sends besides the messages published is ignored
    #[arg(long, value_name = "TEXT")]
    subscribe: Option<String>,

    /// How long the server has, after the last of them, until the first message is published
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    settle: Span,

    /// Publish at this address instead of the subscribers'
    #[arg(long, value_name = "URL", value_parser = url, conflicts_with = "others")]
    publish_url: Option<String>,
}

/// What was asked for, in the report.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
    subscribers: usize,
    batch: usize,
    size: usize,
    kind: &'static str,
    tls: bool,
    rate: Option<u32>,
    /// Messages that subscribers received besides.
    other_messages: u64,
}

impl Kind for LoadArgs {
    const MODE: &'static str = "fanout";
    const SERVER: &'static [&'static str] = &["--broadcast"];
    type Load = Fanout;
    type Shape = Shape;

    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn deflate(&self) -> bool {
        false
    }

    fn rate(&self) -> Option<u32> {
        self.rate
    }

    fn open(
        &self,
        args: &TargetArgs,
        target: &mut Target,
        poll: &mut Poll,
        progress: &mut Progress,
    ) -> Result<Fanout, Failure> {
        let subscribers = pool::open(target, self.subscribers, 0, poll, progress)?;
        let mut publishing = self.publish_url.as_ref().map(|url| args.at(url, false)).transpose()?;
        let publisher = pool::open(publishing.as_mut().unwrap_or(target), 1, self.subscribers, poll, progress)?;
        let mut load = Fanout::new(self, subscribers, publisher)?;
        load.subscribe(self.subscribe.as_deref());
        settle(poll, self.settle.0, &mut load)?;
        Ok(load)
    }

    fn shape(&self, load: &mut Fanout, target: &Target) -> Shape {
        Shape {
            subscribers: self.subscribers,
            batch: self.batch,
            size: self.size.0,
            kind: if self.binary { "binary" } else { "text" },
            tls: target.tls.is_some(),
            rate: self.rate,
            other_messages: load.stats.others,
        }
    }
}

/// The measurement.
#[derive(Debug)]
pub(super) struct Fanout {
    payloads: Payloads,
    /// By the tokens of their events; a connection that was lost is `None`. The publisher's token comes after theirs.
    subscribers: Vec<Option<Subscriber>>,
    publisher: Option<Link>,
    batch: usize,
    rate: Option<u32>,
    /// At a constant rate: when the messages are due.
    schedule: Option<Schedule>,
    /// At a constant rate, the latencies of messages due in this time count.
    window: Range<u64>,
    beginning: Instant,
    /// Whether messages are still to be published.
    is_sending: bool,
    /// Whether deliveries still count, and how long they took.
    is_counting: bool,
    /// Messages published so far, and when the last were.
    published: u64,
    published_at: u64,
    /// Deliveries to come of all that was published.
    missing: u64,
    stats: Stats,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Subscriber {
    link: Link,
    /// Messages delivered to it, of those published.
    delivered: u64,
}

impl Fanout {
    fn new(load: &LoadArgs, subscribers: Vec<Opened>, publisher: Vec<Opened>) -> Result<Self, Failure> {
        let content = if load.binary { Content::Binary } else { Content::Text };
        let payloads = Payloads::new(content, load.size.0, load.batch, None);
        let mut stats = Stats::new()?;
        let mut link = |opened: Opened, judge| {
            let mut link = Link::new(opened.transport, Replies::new(0, judge), 0);
            match link.take(&opened.rest, &payloads) {
                Ok(taken) => stats.others += (taken.messages + taken.others) as u64,
                Err(loss) => stats.error(1, || loss.to_string()),
            }
            link
        };
        let subscribers: Vec<_> = subscribers
            .into_iter()
            .map(|opened| Some(Subscriber { link: link(opened, Judge::Ours), delivered: 0 }))
            .collect();
        let publisher = publisher.into_iter().next().map(|opened| link(opened, Judge::Header));
        Ok(Self {
            payloads,
            subscribers,
            publisher,
            batch: load.batch,
            rate: load.rate,
            schedule: None,
            window: 0..u64::MAX,
            beginning: Instant::now(),
            is_sending: false,
            is_counting: false,
            published: 0,
            published_at: 0,
            missing: 0,
            stats,
            buffer: vec![0; READ],
        })
    }

    /// Has all subscribers send this text, and read what came while others were being opened.
    fn subscribe(&mut self, text: Option<&str>) {
        for token in 0..self.subscribers.len() {
            if let (Some(text), Some(subscriber)) = (text, &mut self.subscribers[token]) {
                subscriber.link.interject(Opcode::Text, text.as_bytes());
            }
            self.turn(token);
        }
        self.turn(self.subscribers.len());
    }

    /// Publishes the next messages if all before are delivered, and not at times of their own.
    fn publish_next(&mut self) {
        if self.missing == 0 && self.is_sending && self.schedule.is_none() {
            self.publish(nanos(self.beginning.elapsed()));
        }
    }

    /// Publishes the next messages, all by one write.
    fn publish(&mut self, now: u64) {
        let Some(publisher) = &mut self.publisher else { return };
        self.published += self.batch as u64;
        self.published_at = now;
        self.missing += (self.batch * self.subscribers.iter().flatten().count()) as u64;
        publisher.owe(self.batch);
        if let Err(loss) = publisher.flush(&self.payloads) {
            self.lose_publisher(&loss);
        }
    }

    fn publisher_turn(&mut self) {
        let Some(publisher) = &mut self.publisher else { return };
        let received = publisher.receive(&mut self.buffer, &self.payloads, |_, _| ());
        if let Err(loss) = received.and_then(|()| publisher.flush(&self.payloads)) {
            self.lose_publisher(&loss);
        }
    }

    fn lose_publisher(&mut self, loss: &Loss) {
        self.publisher = None;
        self.stats.error(1, || format!("the publisher: {loss}"));
    }
}

impl Load for Fanout {
    fn begin(&mut self, beginning: Instant, window: Range<u64>) {
        self.beginning = beginning;
        self.window = window;
        self.schedule = self.rate.map(|rate| Schedule::new(rate, 1, 0));
        self.is_counting = true;
        self.resume();
    }

    fn turn(&mut self, token: usize) {
        if token == self.subscribers.len() {
            return self.publisher_turn();
        }
        let Some(Some(Subscriber { link, delivered })) = self.subscribers.get_mut(token) else { return };
        let (stats, is_counting, batch) = (&mut self.stats, self.is_counting, self.batch as u64);
        let mut outcome = link.receive(&mut self.buffer, &self.payloads, |taken, bytes| {
            let now = nanos(self.beginning.elapsed());
            let expected = (taken.messages as u64).min(self.published - *delivered);
            stats.others += (taken.messages + taken.others) as u64 - expected;
            self.missing -= expected;
            match &self.schedule {
                None if is_counting => stats.took(now.saturating_sub(self.published_at), expected),
                None => {}
                Some(schedule) => {
                    for number in *delivered..*delivered + expected {
                        // All of a batch are due with its first.
                        let due = schedule.due_on(0, number - number % batch);
                        if self.window.contains(&due) {
                            stats.took(now.saturating_sub(due), 1);
                        }
                    }
                }
            }
            *delivered += expected;
            if is_counting {
                stats.messages += expected;
                stats.bytes += bytes as u64;
            }
        });
        outcome = outcome.and_then(|()| link.flush(&self.payloads));
        if let Err(loss) = outcome {
            self.missing -= self.published - *delivered;
            self.subscribers[token] = None;
            self.stats.error(1, || loss.to_string());
        }
        self.publish_next();
    }

    fn due(&mut self, now: u64) {
        while let Some(schedule) = &mut self.schedule
            && schedule.next_due() <= now
        {
            for _ in 0..self.batch {
                schedule.skip();
            }
            self.publish(now);
        }
    }

    fn next_due(&self) -> Option<u64> {
        self.schedule.as_ref().map(Schedule::next_due)
    }

    fn is_over(&self) -> bool {
        self.publisher.is_none() || self.subscribers.iter().all(Option::is_none)
    }

    fn stop(&mut self, _now: u64) {
        (self.is_sending, self.is_counting) = (false, false);
    }

    fn under_way(&self) -> usize {
        self.missing as usize
    }

    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }
}

impl Steady for Fanout {
    fn pause(&mut self) {
        self.is_sending = false;
    }

    fn resume(&mut self) {
        self.is_sending = true;
        self.publish_next();
    }

    fn close(&mut self) {
        self.stats.error(self.under_way(), || "a message was not delivered within --answer-timeout".to_owned());
        let links = self.subscribers.iter_mut().flatten().map(|subscriber| &mut subscriber.link);
        for link in links.chain(&mut self.publisher) {
            link.close(&self.payloads);
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscribers, batch, size, kind, .. } = self;
        write!(f, "to {} subscribers, {size} bytes of {kind}, {batch} at once", grouped(float(*subscribers as u64)))?;
        if let Some(rate) = self.rate {
            write!(f, ", {} published per second", grouped(rate.into()))?;
        }
        f.write_str(if self.tls { ", TLS" } else { "" })?;
        if self.other_messages > 0 {
            write!(f, "; {} other messages received", grouped(float(self.other_messages)))?;
        }
        Ok(())
    }
}
