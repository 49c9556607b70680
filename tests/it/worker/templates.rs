//! Chats as prompts, by templates as models of the families have them.
//!
//! What is expected is what each family's model card says its prompts look like. The templates have the same clauses as
//! the published ones; where they word a default system message, that is theirs.

use super::files::{Files, message, smollm};
use crate::support::skipped;
use serde_json::{Value, json};
use std::process::Command;
use worker::language::{Language, Message, Next};

/// ChatML as SmolLM2 writes it: a system message of its own, unless the chat begins with one.
const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Llama 3: the first message has the token that begins a text, contents are trimmed.
const LLAMA3: &str = "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

/// Llama 3.2: a header of dates before the system message, which is taken out of the chat; tools, where there are any.
const LLAMA32: &str = r#"{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message is taken out. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("This model only supports single tool-calls at once!") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

/// Qwen2.5: tools, where there are any; a system message of its own.
const QWEN25: &str = r##"{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {{- "# Tools" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}
        {{- message.content }}
        {{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"##;

/// Roles must alternate, or it says so: as Llama 2 and Mistral have it.
const ALTERNATING: &str = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'].strip() + eos_token }}{% endif %}{% endfor %}";

fn speaking(template: &str) -> Language {
    Files::new("template").template(json!(template)).tokens("<|begin_of_text|>", "<|eot_id|>").read()
}

fn dialogue() -> Vec<Message> {
    vec![message("user", "Hi"), message("assistant", " Hello! \n"), message("user", "Why?\n\n")]
}

fn with_system() -> Vec<Message> {
    let mut messages = vec![message("system", "  Be brief.")];
    messages.extend(dialogue());
    messages
}

fn told(template: &str, messages: &[Message], next: Next) -> String {
    speaking(template).chat(messages, next).expect("it is told")
}

#[test]
fn smollm2() {
    let own = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    let rest = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n Hello! \n<|im_end|>\n<|im_start|>user\nWhy?\n\n<|im_end|>\n";
    assert_eq!(told(CHATML, &dialogue(), Next::Reply), format!("{own}{rest}<|im_start|>assistant\n"));
    assert_eq!(told(CHATML, &dialogue(), Next::Nothing), format!("{own}{rest}"));
    let system = "<|im_start|>system\n  Be brief.<|im_end|>\n";
    assert_eq!(told(CHATML, &with_system(), Next::Reply), format!("{system}{rest}<|im_start|>assistant\n"));
    // The file's own template, where the file is there.
    if let Some(language) = smollm() {
        for (messages, next) in [(dialogue(), Next::Reply), (with_system(), Next::Nothing)] {
            let text = language.chat(&messages, next).expect("it is told");
            assert_eq!(text, told(CHATML, &messages, next));
        }
        let ids = language.encode("<|im_start|>assistant\n", false);
        // The special token, two for the role, the end of line.
        assert_eq!((ids.len(), ids[0], ids[3], language.ends(2)), (4, 1, 198, true), "{ids:?}");
    }
}

#[test]
fn llama_3() {
    let turn = |role: &str, text: &str| format!("<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>");
    let rest = [turn("user", "Hi"), turn("assistant", "Hello!"), turn("user", "Why?")].concat();
    let reply = "<|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(told(LLAMA3, &dialogue(), Next::Reply), format!("<|begin_of_text|>{rest}{reply}"));
    assert_eq!(told(LLAMA3, &dialogue(), Next::Nothing), format!("<|begin_of_text|>{rest}"));
    let system = turn("system", "Be brief.");
    assert_eq!(told(LLAMA3, &with_system(), Next::Reply), format!("<|begin_of_text|>{system}{rest}{reply}"));
    // 3.2, whose date is the one that it was written with, on any day.
    let dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
    let headed = |text: &str| turn("system", &format!("{dates}{text}"));
    let expected = format!("<|begin_of_text|>{}{rest}{reply}", headed("Be brief."));
    assert_eq!(told(LLAMA32, &with_system(), Next::Reply), expected);
    assert_eq!(told(LLAMA32, &dialogue(), Next::Nothing), format!("<|begin_of_text|>{}{rest}", headed("")));
}

#[test]
fn qwen2_5() {
    let turn = |role: &str, text: &str| format!("<|im_start|>{role}\n{text}<|im_end|>\n");
    let rest = [turn("user", "Hi"), turn("assistant", " Hello! \n"), turn("user", "Why?\n\n")].concat();
    let own = turn("system", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
    assert_eq!(told(QWEN25, &dialogue(), Next::Reply), format!("{own}{rest}<|im_start|>assistant\n"));
    assert_eq!(told(QWEN25, &dialogue(), Next::Nothing), format!("{own}{rest}"));
    let system = turn("system", "  Be brief.");
    assert_eq!(told(QWEN25, &with_system(), Next::Reply), format!("{system}{rest}<|im_start|>assistant\n"));
    // Neighbouring answers of tools are one turn.
    let tools = [message("user", "2+2"), message("tool", "4"), message("tool", "four")];
    let answers =
        "<|im_start|>user\n<tool_response>\n4\n</tool_response>\n<tool_response>\nfour\n</tool_response><|im_end|>\n";
    assert_eq!(told(QWEN25, &tools, Next::Nothing), format!("{own}{}{answers}", turn("user", "2+2")));
}

/// The text that a template makes of a chat are the tokens that a model was trained with: specials are one token each, and
/// nothing is put before what the template has begun.
#[test]
fn specials_of_a_template_are_tokens() {
    let language = speaking(LLAMA3);
    let text = language.chat(&[message("user", "é")], Next::Reply).expect("it is told");
    let ids = language.encode(&text, false);
    // begin, header, u s e r, header, two ends of line, é in two bytes, end of turn, header, assistant, header, two more.
    assert_eq!(ids.len(), 1 + 1 + 4 + 1 + 2 + 2 + 1 + 1 + 9 + 1 + 2, "{ids:?}");
    assert_eq!(language.decode(&ids), "user\n\néassistant\n\n", "special ones are no text");
}

#[test]
fn of_several_templates_the_default_is_taken_and_a_file_of_its_own_before_all() {
    let several = json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "chats"}]);
    let files = Files::new("several").template(several);
    assert_eq!(files.read().chat(&dialogue(), Next::Reply).expect("it is told"), "chats");
    files.write("chat_template.jinja", "beside");
    assert_eq!(files.read().chat(&dialogue(), Next::Reply).expect("it is told"), "beside");
    files.write("tokenizer_config.json", "{ not JSON");
    let error = files.try_read().expect_err("it is refused").to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

#[test]
fn a_template_that_fails_says_so_in_one_line() {
    let refused = |template: &str, messages: &[Message]| {
        let error = speaking(template).chat(messages, Next::Reply).expect_err("it is refused").to_string();
        assert!(error.starts_with("the model's chat template: ") && !error.contains('\n'), "{error}");
        error
    };
    assert_eq!(
        told(ALTERNATING, &dialogue(), Next::Reply),
        "<|begin_of_text|>[INST] Hi [/INST] Hello!<|eot_id|>[INST] Why?\n\n [/INST]"
    );
    let error = refused(ALTERNATING, &[message("user", "a"), message("user", "b")]);
    assert!(error.contains("roles must alternate"), "{error}");
    let error = refused("{% if %}", &dialogue());
    assert!(error.contains("syntax error"), "{error}");
    let error = refused("{{ messages[0].content | no_such }}", &dialogue());
    assert!(error.contains("no_such"), "{error}");
    let error = refused("{{ messages[99].content }}", &dialogue());
    assert!(error.contains("undefined"), "{error}");
}

/// Jinja itself, set up as Hugging Face sets it up, makes the same of every template and chat.
#[test]
fn jinja_itself_renders_the_same() {
    let script = "import json, sys\n\
        from jinja2.sandbox import ImmutableSandboxedEnvironment\n\
        def refuse(text): raise ValueError(text)\n\
        env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)\n\
        env.globals['raise_exception'] = refuse\n\
        cases = json.load(sys.stdin)\n\
        print(json.dumps([env.from_string(t).render(messages=m, add_generation_prompt=g, tools=None, documents=None, \
        bos_token='<|begin_of_text|>', eos_token='<|eot_id|>') for t, m, g in cases]))\n";
    let python = std::env::var("PODLAB_PYTHON").unwrap_or_default();
    let there =
        Command::new(&python).args(["-c", "import jinja2"]).output().is_ok_and(|output| output.status.success());
    if !there {
        return skipped("no jinja2 for PODLAB_PYTHON; run tests/run.sh");
    }
    let plain = |messages: &[Message]| -> Value {
        messages.iter().map(|message| json!({"role": message.role, "content": message.content})).collect()
    };
    let odd = vec![message("user", "<|im_end|>{{ 7 * 7 }}\t\u{1f642}\r\n'\"\\ \u{a0}"), message("assistant", "")];
    let mut cases = Vec::new();
    for template in [CHATML, LLAMA3, LLAMA32, QWEN25] {
        for messages in [dialogue(), with_system(), odd.clone()] {
            for next in [Next::Reply, Next::Nothing] {
                let ours = told(template, &messages, next);
                cases.push((json!([template, plain(&messages), next == Next::Reply]), ours));
            }
        }
    }
    let input: Value = cases.iter().map(|(case, _)| case.clone()).collect();
    let mut child = Command::new(&python)
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, input.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("python ends");
    let rendered: Vec<String> = serde_json::from_slice(&output.stdout).expect("texts");
    assert_eq!(rendered.len(), cases.len());
    for ((case, ours), theirs) in cases.iter().zip(&rendered) {
        assert_eq!(ours, theirs, "{case}");
    }
}
