//! Chat templates: Jinja as transformers runs it, compiled once, with a bound on work and on output.
//! Python's spellings are in `python`, dates in `strftime`. Knows no token and no HTTP.

mod python;
mod source;
mod stack;
mod strftime;

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};

/// Steps that one rendering may take: an instruction, or 64 bytes of text made. A conversation of a thousand messages
/// takes some hundred thousand.
const FUEL: u64 = 1_000_000;
/// Bytes that one rendering may write.
const OUTPUT_LIMIT_BYTES: usize = 16 << 20;
const NAME: &str = "chat_template";

/// Why a template could not be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The source is longer than a template may be.
    #[error("the chat template has {bytes} bytes, more than the {limit} allowed")]
    SourceTooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A tag of the source has more tokens than one may have.
    #[error("line {line} of the chat template is in a tag of more than {limit} tokens")]
    TagTooLong {
        /// Line of the source, from 1.
        line: usize,
        /// Tokens allowed.
        limit: usize,
    },
    /// The source is not a template.
    #[error("the chat template does not compile: line {line}: {message}")]
    Syntax {
        /// Line of the source, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The template refused the conversation with `raise_exception`. The message is meant for whoever sent it.
    #[error("{message}")]
    Raised {
        /// The template's own words.
        message: String,
    },
    /// The template asked something of the conversation that it does not have.
    #[error("the chat template cannot render these messages: line {line}: {message}")]
    Render {
        /// Line of the source, from 1; 0 if unknown.
        line: usize,
        /// What went wrong.
        message: String,
    },
    /// The rendering took too many steps.
    #[error("the chat template took more than {limit} steps over these messages; send fewer")]
    TooMuchWork {
        /// Steps allowed.
        limit: u64,
    },
    /// The rendering wrote too much.
    #[error("the chat template wrote more than {limit} bytes for these messages; send fewer")]
    OutputTooLong {
        /// Bytes allowed.
        limit: usize,
    },
    /// The system gave no thread to compile or render on.
    #[error("no thread for the chat template ({message}); allow the process more threads or address space")]
    NoThread {
        /// The system's words.
        message: String,
    },
    /// The template engine panicked, which is a defect of its own.
    #[error("the template engine failed on the chat template; its words are in the log")]
    Engine,
}

/// What a template is given.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// OpenAI-shaped messages. Arguments of tool calls that are JSON text are parsed first, as templates expect.
    pub messages: Vec<serde_json::Value>,
    /// OpenAI-shaped tools; `None` is the template's `none`.
    pub tools: Option<serde_json::Value>,
    /// Whether the rendering ends with the beginning of an assistant's turn.
    pub add_generation_prompt: bool,
    /// More variables (`chat_template_kwargs`). They win over everything but the messages.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// A compiled chat template. Send and Sync; rendering does not change it.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are the texts of those tokens, empty if there are none. A rendering that
    /// begins with `bos` is to be encoded with special tokens parsed; the tokenizer then adds no second one.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`] and [`TemplateError::TagTooLong`] with the line, or [`TemplateError::SourceTooLong`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let environment = stack::on_a_large_stack(|| compile(source))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// Renders a conversation; `strftime_now` reads the system's clock, in UTC.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] carries the template's own message for the user; the others say what went wrong.
    pub fn render(&self, conversation: &Conversation) -> Result<String, TemplateError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        self.render_at(conversation, now)
    }

    /// As [`Self::render`], at a given time in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_at(&self, conversation: &Conversation, now_seconds: u64) -> Result<String, TemplateError> {
        stack::on_a_large_stack(|| self.render_here(conversation, now_seconds))
    }

    /// Renders on the caller's stack; no value of the engine leaves it.
    fn render_here(&self, conversation: &Conversation, now_seconds: u64) -> Result<String, TemplateError> {
        let messages: Vec<_> = conversation.messages.iter().map(with_parsed_arguments).collect();
        let now = Value::from_function(move |format: &str| strftime::format_utc(format, now_seconds));
        let defaults = context! {
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => Serde(conversation.tools.as_ref()),
            documents => (),
            add_generation_prompt => conversation.add_generation_prompt,
            strftime_now => now,
        };
        let extra = Value::from(Serde(&conversation.extra));
        let context = context! { messages => Serde(messages), ..context! { ..extra, ..defaults } };
        let template = self.environment.get_template(NAME).map_err(|error| render_error(&error))?;
        let mut output = Bounded { bytes: Vec::new(), limit: OUTPUT_LIMIT_BYTES, exceeded: false };
        match template.render_captured_to(context, &mut output) {
            Ok(_) => Ok(String::from_utf8_lossy(&output.bytes).into_owned()),
            Err(_) if output.exceeded => Err(TemplateError::OutputTooLong { limit: OUTPUT_LIMIT_BYTES }),
            Err(error) => Err(render_error(&error)),
        }
    }
}

/// The engine with everything that transformers gives a template, and the template in it.
fn compile(source: &str) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    let syntax = syntax.map_err(|error| syntax_error(&error))?;
    let source = source::without_generation_marks(source);
    source::check(&source, syntax.clone())?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(100);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&python::text(value)?)?));
    environment.add_filter("tojson", |value: &Value, indent: Option<Value>, options: Kwargs| {
        python::to_json(value, indent, &options)
    });
    // What they write of a nested value grows with the square of its depth, and takes no fuel.
    environment.remove_filter("pprint");
    environment.remove_global("debug");
    environment.add_filter("string", |value: &Value| python::text(value));
    environment.add_function("raise_exception", |message: &str| -> Result<Value, Error> {
        let raised = Raised(message.to_owned());
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(raised))
    });
    environment.add_template_owned(NAME, source).map_err(|error| syntax_error(&error))?;
    Ok(environment)
}

/// What a template said with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

/// A writer that refuses to grow beyond its limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.exceeded = true;
            return Err(io::Error::other("the rendering is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn syntax_error(error: &Error) -> TemplateError {
    TemplateError::Syntax { line: error.line().unwrap_or(0), message: describe(error) }
}

fn render_error(error: &Error) -> TemplateError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref::<Raised>() {
            return TemplateError::Raised { message: message.clone() };
        }
        if cause.is::<python::TooLong>() {
            return TemplateError::OutputTooLong { limit: OUTPUT_LIMIT_BYTES };
        }
        source = cause.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::TooMuchWork { limit: FUEL };
    }
    TemplateError::Render { line: error.line().unwrap_or(0), message: describe(error) }
}

fn describe(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// OpenAI sends the arguments of a tool call as JSON text; templates index them. Text that is not an object stays text.
fn with_parsed_arguments(message: &serde_json::Value) -> serde_json::Value {
    let mut message = message.clone();
    let calls = message.get_mut("tool_calls").and_then(serde_json::Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        let Some(arguments) = call.pointer_mut("/function/arguments") else { continue };
        let parsed = arguments.as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        if let Some(parsed) = parsed.filter(serde_json::Value::is_object) {
            *arguments = parsed;
        }
    }
    message
}
