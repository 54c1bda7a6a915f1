//! Server-sent events out of bytes that arrive in any cuts. It knows nothing of JSON or of OpenAI.
//! The rules are those of the WHATWG HTML standard, "Server-sent events", section on interpreting an event stream.

/// A line or an event that is longer ends the request: no server needs it for a token.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event: its name (empty for the default) and its data lines joined by line feeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) name: String,
    pub(crate) data: String,
}

/// A line, or the data of an event, passed the bound.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or event of the stream is longer than {limit} bytes")]
pub(crate) struct SseTooLong {
    pub(crate) limit: usize,
}

/// Reads events incrementally. Holds at most one unfinished line and one unfinished event, both bounded.
#[derive(Debug)]
pub(crate) struct SseParser {
    limit: usize,
    line: Vec<u8>,
    after_carriage_return: bool,
    first_line: bool,
    name: String,
    data: Option<String>,
}

impl SseParser {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_carriage_return: false,
            first_line: true,
            name: String::new(),
            data: None,
        }
    }

    /// Takes the next bytes and appends the events that they complete. On an error, the events before it are there.
    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseTooLong> {
        for &byte in bytes {
            let line_feed_of_a_pair = self.after_carriage_return && byte == b'\n';
            self.after_carriage_return = byte == b'\r';
            if line_feed_of_a_pair {
                continue;
            }
            if byte == b'\n' || byte == b'\r' {
                self.end_line(events)?;
            } else if self.line.len() == self.limit {
                return Err(SseTooLong { limit: self.limit });
            } else {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    /// The stream has ended. The standard drops an event that no blank line has closed; servers exist that close with
    /// `data: [DONE]` and no blank line, so it counts here.
    pub(crate) fn finish(mut self, events: &mut Vec<SseEvent>) -> Result<(), SseTooLong> {
        if !self.line.is_empty() {
            self.end_line(events)?;
        }
        self.dispatch(events);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) -> Result<(), SseTooLong> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = bytes.as_slice();
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let text = String::from_utf8_lossy(line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.append(value)?,
            "event" => value.clone_into(&mut self.name),
            // Not of the standard: llama-server has sent its errors in a field of this name.
            "error" => {
                "error".clone_into(&mut self.name);
                self.append(value)?;
            }
            _ => {} // a comment (no name), `id`, `retry`, or a field of the future
        }
        Ok(())
    }

    fn append(&mut self, value: &str) -> Result<(), SseTooLong> {
        let data = match &mut self.data {
            Some(data) => {
                data.push('\n');
                data
            }
            None => self.data.insert(String::new()),
        };
        if data.len() + value.len() > self.limit {
            return Err(SseTooLong { limit: self.limit });
        }
        data.push_str(value);
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            events.push(SseEvent { name, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Vec<SseEvent> {
        parse_in_cuts(bytes, &[])
    }

    fn parse_in_cuts(bytes: &[u8], cuts: &[usize]) -> Vec<SseEvent> {
        let mut parser = SseParser::new(MAX_LINE_BYTES);
        let mut events = Vec::new();
        let mut start = 0;
        for &cut in cuts {
            parser.push(&bytes[start..cut], &mut events).expect("short lines");
            start = cut;
        }
        parser.push(&bytes[start..], &mut events).expect("short lines");
        parser.finish(&mut events).expect("short lines");
        events
    }

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { name: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn the_examples_of_the_standard_give_its_events() {
        let stock = b"data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(parse(stock), [event("", "YHOO\n+2\n10")]);
        let blocks = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        assert_eq!(parse(blocks), [event("", "first event"), event("", "second event"), event("", " third event")]);
        assert_eq!(parse(b"data\n\ndata\ndata\n\n"), [event("", ""), event("", "\n")]);
        assert_eq!(parse(b"data:test\n\ndata: test\n\n"), [event("", "test"), event("", "test")]);
        let named = b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\n";
        assert_eq!(parse(named), [event("add", "73857293"), event("remove", "2153")]);
    }

    #[test]
    fn carriage_returns_line_feeds_and_pairs_all_end_a_line() {
        for text in ["data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r", "data: a\n\r\ndata: b\r\n\n"] {
            assert_eq!(parse(text.as_bytes()), [event("", "a"), event("", "b")], "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_only_at_the_start() {
        assert_eq!(parse("\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes()), [event("", "a")]);
    }

    #[test]
    fn an_unclosed_last_event_counts() {
        assert_eq!(parse(b"data: [DONE]"), [event("", "[DONE]")]);
        assert_eq!(parse(b"data: [DONE]\n"), [event("", "[DONE]")]);
    }

    #[test]
    fn an_error_field_is_an_error_event() {
        assert_eq!(parse(b"error: {\"code\":500}\n\n"), [event("error", "{\"code\":500}")]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(parse(b"data: \xff\n\n"), [event("", "\u{fffd}")]);
    }

    #[test]
    fn a_line_and_an_event_have_a_bound_and_what_came_before_is_kept() {
        let mut events = Vec::new();
        let mut parser = SseParser::new(16);
        let result = parser.push(b"data: a\n\ndata: 0123456789abcdef\n\n", &mut events);
        assert_eq!(result, Err(SseTooLong { limit: 16 }));
        assert_eq!(events, [event("", "a")]);
        let mut parser = SseParser::new(16);
        let result = parser.push(b"data:01234567\ndata:01234567\n\n", &mut Vec::new());
        assert_eq!(result, Err(SseTooLong { limit: 16 }));
    }

    /// A part of a stream, with the event that it makes.
    fn part() -> impl Strategy<Value = (String, Option<SseEvent>)> {
        let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
        let data = "[^\r\n\u{feff}]{0,12}";
        let with_event = (prop::option::of("[a-z]{1,5}"), prop::collection::vec(data, 1..3), end.clone()).prop_map(
            |(name, lines, end)| {
                let mut text = name.iter().map(|name| format!("event: {name}{end}")).collect::<String>();
                for line in &lines {
                    text.push_str(&format!("data: {line}{end}"));
                }
                text.push_str(end);
                (text, Some(SseEvent { name: name.unwrap_or_default(), data: lines.join("\n") }))
            },
        );
        let comment = ("[^\r\n]{0,12}", end).prop_map(|(text, end)| (format!(": {text}{end}"), None));
        prop_oneof![4 => with_event, 1 => comment]
    }

    proptest! {
        #[test]
        fn any_cuts_of_a_stream_give_the_events_that_were_written(
            parts in prop::collection::vec(part(), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            // A "\r" at the end of one part and a "\n" at the start of the next would be one line end; no part starts so.
            let text: String = parts.iter().map(|(text, _)| text.as_str()).collect();
            let expected: Vec<SseEvent> = parts.into_iter().filter_map(|(_, event)| event).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(&parse_in_cuts(text.as_bytes(), &cuts), &expected);
            let every_byte: Vec<usize> = (0..text.len()).collect();
            prop_assert_eq!(&parse_in_cuts(text.as_bytes(), &every_byte), &expected);
        }

        #[test]
        fn any_bytes_in_any_cuts_give_the_same_events_and_never_panic(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"data:\r\n e".to_vec())], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(parse_in_cuts(&bytes, &cuts), parse(&bytes));
        }
    }
}
