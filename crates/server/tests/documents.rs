//! Files, vector stores and search through the router, without a model.

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::*;
use futures_util::FutureExt;
use sconce_server::{ServerOptions, router};
use serde_json::{Value, json};
use tower::ServiceExt;

#[tokio::test]
async fn a_file_is_uploaded_listed_read_and_deleted() {
    let app = app();
    let file = upload(&app, "bäcker.md", "# Bäcker\n\nEin Bäcker backt.".as_bytes(), "assistants").await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text);
    let file = file.json();
    let id = file["id"].as_str().unwrap();
    assert_eq!(file["object"], "file");
    assert_eq!(file["filename"], "bäcker.md");
    assert_eq!(get(&app, &format!("/v1/files/{id}")).await.json(), file);
    let content = get(&app, &format!("/v1/files/{id}/content")).await;
    assert_eq!(content.text, "# Bäcker\n\nEin Bäcker backt.");
    assert_eq!(content.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(get(&app, "/v1/files?purpose=assistants").await.json()["data"], json!([file]));
    assert_eq!(get(&app, "/v1/files?purpose=batch").await.json()["data"], json!([]));
    let deleted = delete(&app, &format!("/v1/files/{id}")).await.json();
    assert_eq!(deleted, json!({"id": id, "object": "file", "deleted": true}));
    assert_eq!(get(&app, &format!("/v1/files/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(delete(&app, &format!("/v1/files/{id}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lists_are_walked_page_by_page() {
    let app = app();
    for number in 0..5 {
        assert_eq!(post(&app, "/v1/vector_stores", &json!({"name": format!("{number}")})).await.status, StatusCode::OK);
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&app, &format!("/v1/vector_stores?limit=2&order=asc{cursor}")).await.json();
        let data = page["data"].as_array().unwrap();
        names.extend(data.iter().map(|store| store["name"].as_str().unwrap().to_owned()));
        assert_eq!(page["first_id"], data[0]["id"]);
        assert_eq!(page["last_id"], data[data.len() - 1]["id"]);
        if page["has_more"] == json!(false) {
            break;
        }
        cursor = format!("&after={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(names, ["0", "1", "2", "3", "4"]);
    assert_eq!(get(&app, "/v1/vector_stores?limit=1").await.json()["data"][0]["name"], "4");
}

#[tokio::test]
async fn a_store_is_filled_searched_and_emptied() {
    let app = app();
    let (store, file) = store_with_lamplighter(&app).await;
    let path = format!("/v1/vector_stores/{store}");
    assert_eq!(get(&app, &path).await.json()["file_counts"]["completed"], 1);
    let attributes = json!({"attributes": {"era": "gas", "year": 1887, "indoor": false}});
    let updated = post(&app, &format!("{path}/files/{file}"), &attributes).await.json();
    assert_eq!(updated["attributes"]["era"], "gas");
    assert_eq!(updated["status"], "completed");

    let search = async |extra: Value| {
        let mut body = json!({"query": "lamplighter street lamps"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = post(&app, &format!("{path}/search"), &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    };
    let page = search(json!({})).await;
    assert_eq!(page["object"], "vector_store.search_results.page");
    assert_eq!(page["search_query"], json!(["lamplighter street lamps"]));
    let hit = &page["data"][0];
    assert_eq!((hit["file_id"].as_str(), hit["filename"].as_str()), (Some(file.as_str()), Some("lamplighter.md")));
    assert!(hit["content"][0]["text"].as_str().unwrap().contains("312 street lamps"), "{hit}");
    assert!((0.0..=1.0).contains(&hit["score"].as_f64().unwrap()), "{hit}");

    let year = |operation: &str, year: i64| json!({"filters": {"type": operation, "key": "year", "value": year}});
    assert!(!search(year("gte", 1887)).await["data"].as_array().unwrap().is_empty());
    assert!(search(year("gt", 1887)).await["data"].as_array().unwrap().is_empty());
    assert!(search(json!({"max_num_results": 1})).await["data"].as_array().unwrap().len() == 1);

    let content = get(&app, &format!("{path}/files/{file}/content")).await.json();
    assert_eq!(content["data"][0]["text"], LAMPLIGHTER);
    let listed = get(&app, &format!("{path}/files?filter=completed")).await.json();
    assert_eq!(listed["data"][0]["id"], file);
    assert_eq!(get(&app, &format!("{path}/files?filter=failed")).await.json()["data"], json!([]));
    let detached = delete(&app, &format!("{path}/files/{file}")).await.json();
    assert_eq!(detached, json!({"id": file, "object": "vector_store.file.deleted", "deleted": true}));
    assert!(search(json!({})).await["data"].as_array().unwrap().is_empty());
    let deleted = delete(&app, &path).await.json();
    assert_eq!(deleted, json!({"id": store, "object": "vector_store.deleted", "deleted": true}));
    assert_eq!(get(&app, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&app, &format!("/v1/files/{file}")).await.status, StatusCode::OK, "the file outlives the store");
}

#[tokio::test]
async fn a_deleted_file_no_longer_answers() {
    let app = app();
    let (store, file) = store_with_lamplighter(&app).await;
    delete(&app, &format!("/v1/files/{file}")).await;
    let hits = post(&app, &format!("/v1/vector_stores/{store}/search"), &json!({"query": "lamplighter"})).await.json();
    assert_eq!(hits["data"], json!([]));
    assert_eq!(get(&app, &format!("/v1/vector_stores/{store}")).await.json()["file_counts"]["total"], 0);
}

#[tokio::test]
async fn a_batch_attaches_files_with_their_own_attributes() {
    let app = app();
    let store = post(&app, "/v1/vector_stores", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let good = upload(&app, "a.md", LAMPLIGHTER.as_bytes(), "assistants").await.json()["id"].clone();
    let bad = upload(&app, "b.md", b"\xff\xfe\xff", "assistants").await.json()["id"].clone();
    let files = json!({"files": [{"file_id": good, "attributes": {"a": 1}}, {"file_id": bad}]});
    let batch = post(&app, &format!("/v1/vector_stores/{store}/file_batches"), &files).await;
    assert_eq!(batch.status, StatusCode::OK, "{}", batch.text);
    let batch = batch.json();
    assert_eq!(batch["status"], "completed");
    assert_eq!(
        batch["file_counts"],
        json!({"in_progress": 0, "completed": 1, "failed": 1, "cancelled": 0, "total": 2})
    );
    let failed = get(&app, &format!("/v1/vector_stores/{store}/files?filter=failed")).await.json();
    assert_eq!(failed["data"][0]["last_error"]["code"], "invalid_file");
    assert!(failed["data"][0]["last_error"]["message"].as_str().unwrap().contains("UTF-8"), "{failed}");
    let unknown = json!({"file_ids": [good, "file-none"]});
    let answer = post(&app, &format!("/v1/vector_stores/{store}/file_batches"), &unknown).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_batch_is_found_again_with_its_files_page_by_page() {
    let app = app();
    let (store, lamplighter) = store_with_lamplighter(&app).await;
    let mut ids = Vec::new();
    for (name, text) in [("a.md", LAMPLIGHTER.as_bytes()), ("b.md", b"\xff\xfe\xff"), ("c.md", b"# C\n\nc\n")] {
        ids.push(upload(&app, name, text, "assistants").await.json()["id"].as_str().unwrap().to_owned());
    }
    let path = format!("/v1/vector_stores/{store}/file_batches");
    let named = json!({"file_ids": [ids[0], ids[1], ids[2], ids[0]]});
    let batch = post(&app, &path, &named).await.json();
    let one = format!("{path}/{}", batch["id"].as_str().unwrap());
    assert_eq!(get(&app, &one).await.json(), batch);
    assert_eq!(post(&app, &format!("{one}/cancel"), &json!({})).await.json(), batch, "it has ended already");
    let listed = async |query: &str| {
        let answer = get(&app, &format!("{one}/files?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let page = answer.json();
        let data = page["data"].as_array().unwrap().iter();
        (data.map(|file| file["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), page["has_more"] == json!(true))
    };
    assert_eq!(listed("").await, (vec![ids[2].clone(), ids[1].clone(), ids[0].clone()], false));
    assert_eq!(listed("order=asc&limit=2").await, (ids[..2].to_vec(), true));
    assert_eq!(listed(&format!("order=asc&limit=2&after={}", ids[1])).await, (ids[2..].to_vec(), false));
    assert_eq!(listed("filter=failed").await, (vec![ids[1].clone()], false));
    assert_eq!(listed("filter=in_progress").await, (vec![], false));
    delete(&app, &format!("/v1/vector_stores/{store}/files/{}", ids[0])).await;
    assert_eq!(listed("order=asc").await, (ids[1..].to_vec(), false), "what was detached is not listed");
    for (path, param) in [("limit=0", "limit"), ("filter=odd", "filter")] {
        assert_eq!(get(&app, &format!("{one}/files?{path}")).await.error()["param"], param);
    }
    let after = format!("{one}/files?after={lamplighter}");
    assert_eq!(get(&app, &after).await.status, StatusCode::NOT_FOUND, "attached, but not by this batch");
    let other = post(&app, "/v1/vector_stores", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    let elsewhere = one.replace(&store, &other);
    for path in [format!("{path}/vsfb_none"), format!("{path}/vsfb_none/files"), elsewhere] {
        assert_eq!(get(&app, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    delete(&app, &format!("/v1/vector_stores/{store}")).await;
    assert_eq!(get(&app, &one).await.status, StatusCode::NOT_FOUND, "a batch goes with its store");
}

#[tokio::test]
async fn files_in_transit_have_a_bound_in_bytes() {
    // Room for one file of the largest size.
    let options = ServerOptions { max_file_bytes: 64 << 10, max_file_bytes_held: 1, ..ServerOptions::default() };
    let app = router(state_with(options));
    let large = vec![b'a'; 60 << 10];
    let stored = async || upload(&app, "a.txt", &large, "assistants").await;
    let file = stored().await.json()["id"].as_str().unwrap().to_owned();

    let request = Request::get(format!("/v1/files/{file}/content")).body(Body::empty()).unwrap();
    let download = app.clone().oneshot(request).await.unwrap();
    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(stored().await.status, StatusCode::TOO_MANY_REQUESTS, "the download is not read yet");
    assert_eq!(get(&app, &format!("/v1/files/{file}/content")).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&app, &format!("/v1/files/{file}")).await.status, StatusCode::OK);
    drop(download);
    assert_eq!(stored().await.status, StatusCode::OK);

    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let request = Request::post("/v1/files").header("content-type", "multipart/form-data; boundary=line");
    let mut uploading = Box::pin(app.clone().oneshot(request.body(endless).unwrap()));
    assert!((&mut uploading).now_or_never().is_none());
    assert_eq!(stored().await.status, StatusCode::TOO_MANY_REQUESTS, "the upload may become as large as any");
    drop(uploading);
    assert_eq!(stored().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_store_that_names_an_unknown_file_is_not_created() {
    let app = app();
    let answer = post(&app, "/v1/vector_stores", &json!({"file_ids": ["file-none"]})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
    assert_eq!(get(&app, "/v1/vector_stores").await.json()["data"], json!([]));
}

#[tokio::test]
async fn store_calls_beyond_the_bound_are_refused_at_once() {
    let options = ServerOptions { max_store_calls: 0, max_waiting_store_calls: 0, ..ServerOptions::default() };
    let app = router(state_with(options));
    let answer = get(&app, "/v1/files").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert_eq!(answer.error()["type"], "rate_limit_error");
    let request = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(send(&app, request).await.status, StatusCode::OK);
}
