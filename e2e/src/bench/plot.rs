//! Figures as pictures: bars from zero with the median in numbers, and whiskers from the least to the most. Pure.

use std::fmt::Write;

use crate::figures::Spread;

/// A picture of one figure: groups of bars below each other.
#[derive(Debug)]
pub(crate) struct Plot {
    title: String,
    groups: Vec<(String, Vec<Bar>)>,
}

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// What it is of.
    pub(crate) name: String,
    /// Its length.
    pub(crate) value: Spread,
    /// It is the one that the picture is about.
    pub(crate) ours: bool,
}

/// Pixels.
const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 70.0;
const LINE: f64 = 20.0;
const THICK: f64 = 13.0;

impl Plot {
    /// One without bars yet.
    pub(crate) fn new(title: &str) -> Plot {
        Plot {
            title: title.to_owned(),
            groups: Vec::new(),
        }
    }

    /// Adds bars that are compared with each other; each group has a scale of its own.
    pub(crate) fn group(&mut self, heading: &str, bars: Vec<Bar>) {
        if !bars.is_empty() {
            self.groups.push((heading.to_owned(), bars));
        }
    }

    /// The picture, as SVG. Colours follow what the reader has chosen, bright or dark.
    pub(crate) fn svg(&self) -> String {
        let mut body = String::new();
        let mut y = 2.0 * LINE;
        for (heading, bars) in &self.groups {
            y += LINE;
            text(&mut body, LEFT, y, "start", "head", heading);
            let scale = bars.iter().map(|bar| bar.value.max).fold(0.0, f64::max);
            let x =
                |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * value / scale.max(f64::MIN_POSITIVE);
            for bar in bars {
                y += LINE;
                draw(&mut body, bar, y, x);
            }
        }
        let height = y + LINE;
        let title = escaped(&self.title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
             <style>{STYLE}</style>\n<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
             <text x=\"{LEFT}\" y=\"{LINE}\" class=\"title\">{title}</text>\n{body}</svg>\n"
        )
    }
}

/// Draws one bar; `x` gives the place of a value.
fn draw(body: &mut String, bar: &Bar, y: f64, x: impl Fn(f64) -> f64) {
    let Spread { median, min, max } = bar.value;
    text(body, LEFT - 8.0, y, "end", "name", &bar.name);
    let class = match bar.ours {
        true => "ours",
        false => "bar",
    };
    let (top, length, middle) = (y - THICK + 2.0, x(median) - LEFT, y - THICK / 2.0 + 2.0);
    // Writing to a string does not fail.
    let _ = writeln!(
        body,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{THICK}\"/>\n\
         <line class=\"whisker\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/>",
        x(min),
        x(max)
    );
    text(
        body,
        x(max) + 6.0,
        y,
        "start",
        "name",
        &format!("{median:.2}"),
    );
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
        escaped(words)
    );
}

fn escaped(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

const STYLE: &str = "text{font:12px sans-serif;fill:#222}.title{font-weight:bold;font-size:14px}\
    .head{font-style:italic}.paper{fill:#fff}.bar{fill:#9aa7b4}.ours{fill:#1f77b4}\
    .whisker{stroke:#222;stroke-width:1.5}\
    @media (prefers-color-scheme:dark){.paper{fill:#161b22}text{fill:#ddd}.whisker{stroke:#ddd}\
    .bar{fill:#5b6773}.ours{fill:#4aa3df}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_ends_at_the_right_and_others_in_proportion() {
        let bar = |name: &str, median, ours| Bar {
            name: name.to_owned(),
            value: Spread {
                median,
                min: median,
                max: median,
            },
            ours,
        };
        let mut plot = Plot::new("wall < s");
        plot.group("empty", Vec::new());
        plot.group(
            "gzip",
            vec![bar("tandem", 2.0, true), bar("a & b", 8.0, false)],
        );
        let svg = plot.svg();
        let full = WIDTH - LEFT - RIGHT;
        for part in [
            format!(
                "class=\"ours\" x=\"{LEFT}\" y=\"69.0\" width=\"{:.1}\"",
                full / 4.0
            ),
            format!("class=\"bar\" x=\"{LEFT}\" y=\"89.0\" width=\"{full:.1}\""),
            ">a &amp; b</text>".to_owned(),
            "aria-label=\"wall &lt; s\"".to_owned(),
        ] {
            assert!(svg.contains(&part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("empty"));
        assert_eq!(svg.matches("<rect").count(), 3);
    }
}
