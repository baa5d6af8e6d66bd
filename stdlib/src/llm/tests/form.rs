//! Answers with a structure: the ladder, the repairs, the schemas.

use super::super::form::{self, REPAIRS};
use super::super::schema::Schema;
use super::*;

const PERSON: &str = r#"{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"], "additionalProperties": false}"#;

fn reply(content: &str, finish: Finish) -> Said {
    Said::Reply(Reply { content: content.into(), finish_reason: finish, model: None })
}

fn unsupported() -> Said {
    Said::Unsupported { status: 400, reason: "response_format?".into() }
}

/// Plays a script, and returns what it was asked.
fn played(script: Vec<Said>) -> (Result<Value, LlmError>, Vec<Request>) {
    let (mut asked, mut script) = (Vec::new(), script.into_iter());
    let found = form::ask(&request("Who?"), &Schema::parse(PERSON).unwrap(), |request| {
        asked.push(request.clone());
        Ok(script.next().expect("one more request than the script has"))
    });
    assert!(script.next().is_none(), "the script was not played to its end");
    (found, asked)
}

const GOOD: &str = r#"{"name": "Ada", "age": 36}"#;

#[test]
fn the_ladder_goes_down_as_far_as_it_must() {
    let (found, asked) = played(vec![reply(GOOD, Finish::Stop)]);
    assert_eq!(found.unwrap(), json!({ "name": "Ada", "age": 36 }));
    assert!(matches!(asked[0].format, Format::Schema(_)));
    let (found, asked) = played(vec![unsupported(), reply(GOOD, Finish::Stop)]);
    assert!(found.is_ok() && matches!(asked[1].format, Format::ObjectOf(_)));
    let (found, asked) = played(vec![unsupported(), unsupported(), reply(GOOD, Finish::Stop)]);
    assert!(found.is_ok() && asked[2].format == Format::Object);
    assert!(asked[1].messages[0].content.contains("additionalProperties"), "the schema in words");
    let block = format!("I think\n```\nno\n```\nso:\n```json\n{GOOD}\n```\nDone.");
    let (found, asked) = played(vec![unsupported(), unsupported(), unsupported(), reply(&block, Finish::Stop)]);
    assert!(found.is_ok() && asked[3].format == Format::Text);
    let (found, _) = played((0..4).map(|_| unsupported()).collect());
    assert!(matches!(found, Err(LlmError::Form { repairs: 0, .. })));
}

#[test]
fn what_is_wrong_goes_back_three_times() {
    let (found, asked) = played(vec![
        reply("Ada, 36", Finish::Stop),
        reply(r#"{"name": "Ada"}"#, Finish::Stop),
        reply(r#"{"name": "Ada", "a"#, Finish::Length),
        reply(GOOD, Finish::Stop),
    ]);
    assert!(found.is_ok());
    let told: Vec<&str> = asked[3].messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(told.len(), 7);
    assert!(told[2].contains("is no JSON") && told[2].contains("additionalProperties"), "{}", told[2]);
    assert!(told[4].contains("`$` lacks `age`") && !told[4].contains("additionalProperties"), "{}", told[4]);
    assert!(told[6].contains("cut off"), "{}", told[6]);
    let bad = || reply("{}", Finish::Stop);
    let (found, asked) = played((0..=REPAIRS).map(|_| bad()).collect());
    assert!(matches!(found, Err(LlmError::Form { repairs: 3, .. })) && asked.len() == 4);
    // An answer that is whole by chance and was cut off all the same is no answer.
    let (found, _) = played((0..=REPAIRS).map(|_| reply(GOOD, Finish::Length)).collect());
    assert!(found.unwrap_err().to_string().contains("cut off"));
}

#[test]
fn json_is_found_where_models_put_it() {
    for text in ["[1]", " [1]\n", "```json\n[1]\n```", "```\n[1]```", "Sure! [1] is it.", "a\n```JSON\n[1]\n```\nb"] {
        assert_eq!(form::json(text), Ok(json!([1])), "{text}");
    }
    for text in ["", "no", "}{", "```json\n[1\n```", "[1] and [2]"] {
        assert!(form::json(text).is_err(), "{text}");
    }
}

#[test]
fn schemas_hold_what_they_say() {
    // Schema, a value that fits, one that does not, and what is said of it.
    let cases = [
        (r#"{"type": ["integer", "null"]}"#, "3.0", "3.5", "is a number, not integer or null"),
        (r#"{"enum": ["a", 1]}"#, "1.0", "\"b\"", "is none of"),
        (r#"{"const": {"a": 1}}"#, r#"{"a": 1}"#, "1", "is not"),
        (r#"{"items": {"type": "string"}, "minItems": 1, "maxItems": 2}"#, "[\"a\"]", "[1]", "`$[0]` is a number"),
        (r#"{"minItems": 1}"#, "[1]", "[]", "fewer than 1"),
        (r#"{"uniqueItems": true}"#, "[1, 2]", "[1, 2, 1]", "twice"),
        (r#"{"pattern": "^a+$", "maxLength": 3}"#, "\"aa\"", "\"ab\"", "pattern"),
        (r#"{"maxLength": 2}"#, "\"äö\"", "\"äöü\"", "more than 2"),
        (r#"{"exclusiveMinimum": 0, "multipleOf": 0.5}"#, "1.5", "0", "not above 0"),
        (r#"{"anyOf": [{"type": "null"}, {"minimum": 2}]}"#, "2", "1", "none of the 2 forms"),
        (r#"{"oneOf": [{"maximum": 5}, {"minimum": 2}]}"#, "1", "3", "2 of the forms"),
        (r#"{"allOf": [{"maximum": 5}, {"minimum": 2}]}"#, "3", "6", "more than 5"),
        (
            r##"{"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}, "additionalProperties": false}}, "$ref": "#/$defs/n"}"##,
            r#"{"next": {"next": {}}}"#,
            r#"{"next": {"nest": {}}}"#,
            "`$.next.nest` may not be there",
        ),
    ];
    for (schema, fits, does_not, why) in cases {
        let known = Schema::parse(schema).unwrap();
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(known.admits(&read(fits)), Ok(()), "{schema} {fits}");
        let found = known.admits(&read(does_not)).unwrap_err();
        assert!(found.contains(why), "{schema} {does_not}: {found}");
    }
}

#[test]
fn schemas_that_nobody_could_hold_are_refused() {
    let deep = format!("{}true{}", "{\"items\": ".repeat(100), "}".repeat(100));
    let wrong = [
        "",
        "3",
        "{",
        "{\"type\": \"text\"}",
        "{\"if\": {}}",
        "{\"properties\": []}",
        "{\"enum\": []}",
        "{\"pattern\": \"(\"}",
        "{\"$ref\": \"#/none\"}",
        "{\"$ref\": \"http://x/y\"}",
        "{\"minimum\": \"1\"}",
        "{\"required\": \"a\"}",
        &deep,
    ];
    for text in wrong {
        assert!(Schema::parse(text).is_err(), "{text}");
    }
    // A schema that means itself has an end.
    let circle = Schema::parse(r##"{"$ref": "#"}"##).unwrap();
    assert!(circle.admits(&json!(1)).unwrap_err().contains("deeper"));
}
