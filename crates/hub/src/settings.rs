//! Where the cache is, which endpoint is asked and with which token: the variables that the endpoint's other tools read.

use std::fmt;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::error::HubError;
use crate::limits::Limits;

const ENDPOINT: &str = "https://huggingface.co";

/// A secret: it is never printed.
#[derive(Clone)]
pub struct Token(pub(crate) HeaderValue);

impl Token {
    /// The header that carries it.
    ///
    /// # Errors
    ///
    /// When it cannot stand in a header.
    pub fn new(text: &str) -> Result<Self, HubError> {
        let header = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
        let mut header = header.map_err(|_| HubError::Environment {
            variable: "HF_TOKEN",
            reason: "(or the token file) holds characters that no token has".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// What a pull is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of `models--org--name`.
    pub cache: PathBuf,
    /// Base address, `http` or `https`.
    pub endpoint: Url,
    /// Sent to the endpoint and to no other host.
    pub token: Option<Token>,
    /// Nothing is asked over the network.
    pub offline: bool,
    /// Waits and tries.
    pub limits: Limits,
}

impl Settings {
    /// Reads `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    ///
    /// When a variable or the token file cannot be used, by its name.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::read(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let home = home(get);
        let cache = get("HF_HUB_CACHE").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join("hub")));
        let cache = cache.ok_or_else(|| HubError::Environment {
            variable: "HF_HOME",
            reason: "is not set, and neither is HOME: say where models are kept".to_owned(),
        })?;
        let offline =
            matches!(get("HF_HUB_OFFLINE").unwrap_or_default().to_lowercase().as_str(), "1" | "true" | "yes" | "on");
        let token = match get("HF_TOKEN") {
            Some(token) => Some(Token::new(&token)?),
            None => token_of(get("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home.map(|home| home.join("token"))))?,
        };
        let endpoint = endpoint(&get("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()))?;
        Ok(Self { cache, endpoint, token, offline, limits: Limits::default() })
    }
}

fn home(get: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let caches = || get("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&get("HOME")?).join(".cache")));
    get("HF_HOME").map(PathBuf::from).or_else(|| Some(caches()?.join("huggingface")))
}

fn endpoint(text: &str) -> Result<Url, HubError> {
    let wrong = |reason: String| HubError::Environment { variable: "HF_ENDPOINT", reason };
    let url = Url::parse(text).map_err(|error| wrong(format!("is no address ({error}): such as {ENDPOINT}")))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() || !plain {
        return Err(wrong(format!("must be an http or https address without user or query, such as {ENDPOINT}")));
    }
    Ok(url)
}

/// The file that a login of the endpoint's tools writes.
fn token_of(path: Option<PathBuf>) -> Result<Option<Token>, HubError> {
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HubError::disk(&path, "cannot be read as the token")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&find)
    }

    #[test]
    fn the_cache_is_where_the_other_tools_look_for_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).expect("settings").cache;
        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "/f")]), Path::new("/f/hub"));
        assert_eq!(cache(&[("HF_HOME", "/f"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert!(read(&[]).expect_err("no home").to_string().contains("HF_HOME"));
    }

    #[test]
    fn a_token_comes_from_the_variable_or_the_file_and_is_never_printed() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().to_str().expect("UTF-8");
        assert!(read(&[("HF_HOME", path)]).expect("settings").token.is_none());
        std::fs::write(home.path().join("token"), "hf_from_file\n").expect("written");
        let settings = read(&[("HF_HOME", path)]).expect("settings");
        assert_eq!(settings.token.as_ref().expect("a token").0, "Bearer hf_from_file");
        assert!(!format!("{settings:?}").contains("hf_from_file"));
        let said = read(&[("HF_HOME", path), ("HF_TOKEN", "hf_said")]).expect("settings");
        assert_eq!(said.token.expect("a token").0, "Bearer hf_said");
        let broken = read(&[("HF_HOME", path), ("HF_TOKEN", "hf_\u{1}x")]).expect_err("no header").to_string();
        assert!(broken.contains("HF_TOKEN") && !broken.contains("hf_"), "{broken}");
    }

    #[test]
    fn an_endpoint_is_an_address() {
        for wrong in ["huggingface.co", "ftp://host", "http://user@host", "http://host/?x=1"] {
            let error = read(&[("HOME", "/h"), ("HF_ENDPOINT", wrong)]).expect_err(wrong).to_string();
            assert!(error.contains("HF_ENDPOINT"), "{error}");
        }
        assert!(read(&[("HOME", "/h"), ("HF_ENDPOINT", "http://127.0.0.1:9/mirror/")]).is_ok());
        assert!(read(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "1")]).expect("settings").offline);
    }
}
