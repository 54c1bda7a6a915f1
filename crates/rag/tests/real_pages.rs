//! Web pages and a job description as they were published: menus, scripts and pop-ups stay out, facts stay in. Needs the
//! shared data; prints what is missing otherwise.

use std::path::{Path, PathBuf};

use sconce_rag::{AnswerOptions, IngestOptions, Metadata, ParseLimits, Route, Store, answer, parse_document};

fn data(folder: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("SCONCE_DATA") else {
        eprintln!("skipped: SCONCE_DATA is not set");
        return None;
    };
    let folder = Path::new(&data).join("data/roles").join(folder);
    if !folder.is_dir() {
        eprintln!("skipped: {} is missing", folder.display());
        return None;
    }
    Some(folder)
}

fn parse(path: &Path) -> sconce_rag::Document {
    let bytes = std::fs::read(path).expect("the file");
    parse_document(&path.to_string_lossy(), &bytes, &ParseLimits::default()).expect("the page parses")
}

#[test]
fn web_pages_give_the_titles_and_facts_of_their_markdown_and_no_menus() {
    let (Some(pages), Some(markdown)) = (data("ooh_html"), data("ooh")) else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(&pages).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let (page, twin) = (parse(&path), parse(&markdown.join(format!("{name}.md"))));
        assert_eq!((&page.title, &page.date), (&twin.title, &twin.date), "{name}");
        let blocks: String = page
            .sections
            .iter()
            .flat_map(|section| &section.blocks)
            .map(|block| format!("{}\n", &page.text[block.span.clone()]))
            .collect();
        for furniture in ["Skip to Content", "Release Calendar", "About this section", "enable javascript", "function("]
        {
            assert!(!blocks.contains(furniture), "{name}: {furniture}");
        }
        let start = twin.text.find("| 2024 Median Pay | ").expect("a table") + "| 2024 Median Pay | ".len();
        let pay = twin.text[start..].split_whitespace().next().expect("a figure");
        assert!(blocks.contains(&format!("2024 Median Pay | {pay}")), "{name}: {pay}");
        seen += 1;
    }
    assert_eq!(seen, 20);
}

#[test]
fn a_published_job_description_answers_questions_about_itself() {
    let Some(folder) = data("seed") else { return };
    let store = Store::in_memory().expect("a store");
    let vector_store = store.create_vector_store("seed", &Metadata::new()).expect("a vector store").id;
    store
        .ingest_folder(&vector_store, &folder, &IngestOptions::default(), &mut |_| ())
        .expect("the folder can be read");
    let options = AnswerOptions { store_ids: vec![vector_store], ..AnswerOptions::default() };
    for (question, fact) in [
        ("What education does an AI Solutions Architect need?", "Bachelor's or Master's"),
        ("Do AI Solutions Architects need to write production code?", "Yes, to a meaningful degree"),
        ("How much experience do AI Solutions Architects have?", "6-10 years"),
    ] {
        let answer = answer(&store, question, &options, None).expect("an answer");
        assert_eq!(answer.route, Route::Quoted, "{question}");
        assert_eq!(answer.citations[0].title, "AI Solutions Architect");
        assert!(answer.text.contains(fact), "{question}\n{}", answer.text);
    }
}
