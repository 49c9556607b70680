//! A page read strictly: every tag closed in order, every attribute quoted and told once, every `id` once and every reference to one met.

use std::collections::BTreeSet;

/// Elements that have no end.
const VOID: [&str; 4] = ["meta", "br", "img", "link"];

/// A tag as it began, or a piece of text.
enum Piece {
    Begin(String, Vec<(String, String)>),
    End(String),
    Text(String),
}

/// A page that is well-formed.
pub(super) struct Page {
    pieces: Vec<Piece>,
}

impl Page {
    /// Reads a page.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix("<!DOCTYPE html>").ok_or("it does not begin as HTML does")?;
        let (mut pieces, mut open) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            if let Some(tag) = rest.strip_prefix("</") {
                let (name, after) = tag.split_once('>').ok_or("a tag is cut")?;
                let last: Option<String> = open.pop();
                if last.as_deref() != Some(name) {
                    return Err(format!("</{name}> ends {last:?}"));
                }
                pieces.push(Piece::End(name.to_owned()));
                rest = after;
            } else if rest.starts_with('<') {
                let (name, attributes, after) = begin(&rest[1..])?;
                if !VOID.contains(&name.as_str()) {
                    open.push(name.clone());
                }
                // A style is no markup.
                rest = if name == "style" { &after[after.find("</style>").ok_or("a style is cut")?..] } else { after };
                pieces.push(Piece::Begin(name, attributes));
            } else {
                let end = rest.find('<').unwrap_or(rest.len());
                pieces.push(Piece::Text(unescaped(&rest[..end])?));
                rest = &rest[end..];
            }
        }
        if !open.is_empty() {
            return Err(format!("{open:?} are not closed"));
        }
        let page = Self { pieces };
        page.check_references()?;
        Ok(page)
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.pieces.iter().flat_map(|piece| match piece {
            Piece::Begin(name, attributes) => {
                attributes.iter().map(|(key, value)| (name.as_str(), key.as_str(), value.as_str())).collect::<Vec<_>>()
            }
            _ => Vec::new(),
        })
    }

    fn check_references(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        for (_, _, id) in self.attributes().filter(|(_, key, _)| *key == "id") {
            if !ids.insert(id) {
                return Err(format!("two elements are called {id}"));
            }
        }
        for (_, key, value) in self.attributes() {
            let names: Vec<&str> = match key {
                "aria-labelledby" => value.split(' ').collect(),
                "href" => value.strip_prefix('#').into_iter().collect(),
                _ => Vec::new(),
            };
            if let Some(name) = names.iter().find(|name| !ids.contains(**name)) {
                return Err(format!("{key} names {name}, which is not there"));
            }
        }
        Ok(())
    }

    /// Everything that a page could fetch or lead to.
    pub(super) fn addresses(&self) -> Vec<String> {
        let keys = ["src", "href", "xlink:href", "data", "poster", "action"];
        self.attributes().filter(|(_, key, _)| keys.contains(key)).map(|(_, _, value)| value.to_owned()).collect()
    }

    /// How many elements have this name.
    pub(super) fn count(&self, name: &str) -> usize {
        self.pieces.iter().filter(|piece| matches!(piece, Piece::Begin(known, _) if known == name)).count()
    }

    /// Whether an element has an attribute of this value.
    pub(super) fn has(&self, name: &str, key: &str, value: &str) -> bool {
        self.attributes().any(|attribute| attribute == (name, key, value))
    }

    /// Pictures that are told in words.
    pub(super) fn labelled(&self) -> usize {
        self.attributes().filter(|(name, key, _)| *name == "svg" && *key == "aria-labelledby").count()
    }

    /// Pictures that say nothing that does not stand beside them.
    pub(super) fn hidden(&self) -> usize {
        self.attributes().filter(|(name, key, value)| (*name, *key, *value) == ("svg", "aria-hidden", "true")).count()
    }

    /// All text.
    pub(super) fn text(&self) -> String {
        let words = self.pieces.iter().map(|piece| if let Piece::Text(text) = piece { text } else { "" });
        words.collect()
    }

    /// Rows of tables: the head, the other cells, and the caption of their table.
    fn rows(&self) -> Vec<(String, Vec<String>, String)> {
        let (mut rows, mut caption, mut cells) = (Vec::new(), String::new(), Vec::new());
        let mut cell: Option<String> = None;
        for piece in &self.pieces {
            match piece {
                Piece::Begin(name, _) if name == "tr" => cells = Vec::new(),
                Piece::Begin(name, _) if ["th", "td", "caption"].contains(&name.as_str()) => cell = Some(String::new()),
                Piece::Text(text) => cell.iter_mut().for_each(|cell| cell.push_str(text)),
                Piece::End(name) if name == "caption" => caption = cell.take().unwrap_or_default(),
                Piece::End(name) if name == "th" || name == "td" => cells.push(cell.take().unwrap_or_default()),
                Piece::End(name) if name == "tr" && !cells.is_empty() => {
                    rows.push((cells[0].clone(), cells[1..].to_vec(), caption.clone()));
                }
                _ => {}
            }
        }
        rows
    }

    /// The cells of the first row with this head, but for it.
    pub(super) fn row(&self, head: &str) -> Vec<String> {
        let row = self.rows().into_iter().find(|(known, ..)| known == head);
        row.unwrap_or_else(|| panic!("there is no row {head}")).1
    }

    /// The heads of the rows of a table.
    pub(super) fn heads_of(&self, caption: &str) -> Vec<String> {
        let rows = self.rows().into_iter().filter(|(_, _, of)| of.starts_with(caption));
        rows.map(|(head, ..)| head).filter(|head| head.parse::<u64>().is_ok()).collect()
    }
}

type Tag<'a> = (String, Vec<(String, String)>, &'a str);

/// A tag from behind its `<`: its name, its attributes, and what follows it.
fn begin(text: &str) -> Result<Tag<'_>, String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).ok_or("a tag is cut")?;
    let (name, mut rest) = (text[..end].to_owned(), &text[end..]);
    if name.is_empty() {
        return Err(format!("a raw <: {:?}", text.chars().take(40).collect::<String>()));
    }
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((name, attributes, after));
        }
        let inside = rest
            .strip_prefix(' ')
            .ok_or_else(|| format!("<{name}: {:?}", rest.chars().take(40).collect::<String>()))?;
        let (key, value) = inside.split_once("=\"").ok_or_else(|| format!("<{name}: an attribute without a value"))?;
        let well_named = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !key.chars().all(well_named) || attributes.iter().any(|(known, _)| known == key) {
            return Err(format!("<{name}: attribute {key}"));
        }
        let (value, after) = value.split_once('"').ok_or("an attribute is cut")?;
        if value.contains('<') {
            return Err(format!("<{name} {key}: a raw <"));
        }
        attributes.push((key.to_owned(), unescaped(value)?));
        rest = after;
    }
}

/// Text whose characters that mean something were escaped.
fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(place) = rest.find('&') {
        plain.push_str(&rest[..place]);
        rest = &rest[place..];
        let entities = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"')];
        let known = entities.iter().find(|(entity, _)| rest.starts_with(entity));
        let (entity, c) = known.ok_or_else(|| format!("a raw &: {:?}", rest.chars().take(20).collect::<String>()))?;
        plain.push(*c);
        rest = &rest[entity.len()..];
    }
    plain.push_str(rest);
    Ok(plain)
}
