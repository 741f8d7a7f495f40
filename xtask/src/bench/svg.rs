//! Two kinds of charts, drawn as SVG: lines over steps, and bars beside each other. They know nothing of what they show.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const PLOT_LEFT: f64 = 80.0;
const PLOT_RIGHT: f64 = WIDTH - 24.0;
const PLOT_TOP: f64 = 72.0;
const LINES_HEIGHT: f64 = 400.0;
const PLOT_BOTTOM: f64 = LINES_HEIGHT - 56.0;
/// Told apart by people with any sight of colours.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// A name and its values, one for each step or row.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// Lines over steps that are equally far apart.
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x_title: &'static str,
    pub(crate) y_title: &'static str,
    pub(crate) steps: Vec<String>,
    pub(crate) series: Vec<Series>,
    pub(crate) scale: Scale,
}

/// Bars from left to right, in rows.
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) x_title: &'static str,
    pub(crate) rows: Vec<String>,
    pub(crate) series: Vec<Series>,
    /// What is written at the end of each bar, as `series` has its values.
    pub(crate) labels: Vec<Vec<String>>,
}

impl Lines {
    pub(crate) fn draw(&self) -> String {
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let axis = Axis::over(values, self.scale);
        let mut svg = Svg::new(LINES_HEIGHT, &self.title);
        svg.legend(self.series.iter().map(|series| series.name.as_str()));
        for tick in &axis.ticks {
            let y = PLOT_BOTTOM - axis.place(*tick) * (PLOT_BOTTOM - PLOT_TOP);
            svg.line((PLOT_LEFT, y), (PLOT_RIGHT, y));
            svg.text((PLOT_LEFT - 8.0, y + 4.0), "end", &number(*tick));
        }
        let x = |step: usize| {
            PLOT_LEFT + (step as f64 + 0.5) / self.steps.len() as f64 * (PLOT_RIGHT - PLOT_LEFT)
        };
        for (step, name) in self.steps.iter().enumerate() {
            svg.text((x(step), PLOT_BOTTOM + 20.0), "middle", name);
        }
        svg.text(((PLOT_LEFT + PLOT_RIGHT) / 2.0, PLOT_BOTTOM + 42.0), "middle", self.x_title);
        svg.text((12.0, PLOT_TOP - 12.0), "start", self.y_title);
        for (index, series) in self.series.iter().enumerate() {
            let points = series.values.iter().enumerate().filter_map(|(step, value)| {
                Some((x(step), PLOT_BOTTOM - axis.place((*value)?) * (PLOT_BOTTOM - PLOT_TOP)))
            });
            svg.curve(&points.collect::<Vec<_>>(), COLOURS[index % COLOURS.len()]);
        }
        svg.end()
    }
}

impl Bars {
    pub(crate) fn draw(&self) -> String {
        const BAR: f64 = 14.0;
        const LEFT: f64 = 230.0;
        // Room for what is written at the end of the longest bar.
        const RIGHT: f64 = PLOT_RIGHT - 90.0;
        let row_height = self.series.len() as f64 * BAR + 10.0;
        let bottom = PLOT_TOP + self.rows.len() as f64 * row_height;
        let values = self.series.iter().flat_map(|series| series.values.iter().flatten().copied());
        let axis = Axis::over(values, Scale::Linear);
        let mut svg = Svg::new(bottom + 56.0, &self.title);
        svg.legend(self.series.iter().map(|series| series.name.as_str()));
        for tick in &axis.ticks {
            let x = LEFT + axis.place(*tick) * (RIGHT - LEFT);
            svg.line((x, PLOT_TOP), (x, bottom));
            svg.text((x, bottom + 18.0), "middle", &number(*tick));
        }
        svg.text(((LEFT + RIGHT) / 2.0, bottom + 42.0), "middle", self.x_title);
        for (row, name) in self.rows.iter().enumerate() {
            let top = PLOT_TOP + row as f64 * row_height + 5.0;
            svg.text((LEFT - 8.0, top + row_height / 2.0 - 1.0), "end", name);
            for (index, series) in self.series.iter().enumerate() {
                let Some(value) = series.values[row] else { continue };
                let (y, width) = (top + index as f64 * BAR, axis.place(value) * (RIGHT - LEFT));
                let label = &self.labels[index][row];
                svg.bar((LEFT, y), (width, BAR - 2.0), COLOURS[index % COLOURS.len()]);
                svg.text((LEFT + width + 6.0, y + 10.0), "start", label);
            }
        }
        svg.end()
    }
}

/// The range of an axis, with its ticks.
struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, scale: Scale) -> Axis {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value > 0.0).collect();
        let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        match scale {
            Scale::Linear => {
                let step = step(most / 5.0);
                let to = (most / step).ceil() * step;
                let ticks = (0..=(to / step).round() as u32).map(|tick| f64::from(tick) * step);
                Axis { scale, from: 0.0, to, ticks: ticks.collect() }
            }
            Scale::Logarithmic => {
                let least = values.iter().copied().fold(most, f64::min);
                let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
                let last = last.max(first + 1);
                let ticks = (first..=last).map(|power| 10_f64.powi(power)).collect();
                Axis { scale, from: 10_f64.powi(first), to: 10_f64.powi(last), ticks }
            }
        }
    }

    /// Where a value is between the ends, 0..=1.
    fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => {
                (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
            }
        };
        place.clamp(0.0, 1.0)
    }
}

/// The next of 1, 2, 5, 10, … times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

/// A number in few characters: at least three digits, and no zeros behind the point.
pub(crate) fn number(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e4 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{scaled:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// A drawing in progress.
struct Svg(String);

impl Svg {
    fn new(height: f64, title: &str) -> Svg {
        let mut svg = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ));
        let _ = writeln!(
            svg.0,
            "<text x=\"12\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>",
            escaped(title)
        );
        svg
    }

    fn legend<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut x = PLOT_LEFT;
        for (index, name) in names.enumerate() {
            self.bar((x, 36.0), (12.0, 12.0), COLOURS[index % COLOURS.len()]);
            self.text((x + 18.0, 46.0), "start", name);
            x += 40.0 + name.len() as f64 * 6.6;
        }
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>"
        );
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.0,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(
                self.0,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            );
        }
    }

    fn end(self) -> String {
        self.0 + "</svg>\n"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Axis, Bars, Lines, Scale, Series, number, step};

    #[test]
    fn steps_are_round() {
        assert_eq!([0.7, 1.2, 30.0, 51.0].map(step), [1.0, 2.0, 50.0, 100.0]);
    }

    #[test]
    fn an_axis_reaches_from_end_to_end() {
        let linear = Axis::over([3.0, 47.0].into_iter(), Scale::Linear);
        assert_eq!((linear.from, linear.to), (0.0, 50.0));
        assert!((linear.place(25.0) - 0.5).abs() < 1e-9);
        let powers = Axis::over([20.0, 5_000.0].into_iter(), Scale::Logarithmic);
        assert_eq!(powers.ticks, [10.0, 100.0, 1_000.0, 10_000.0]);
        assert!((powers.place(1_000.0) - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_without_values_is_harmless() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            assert!(Axis::over(std::iter::empty(), scale).place(1.0).is_finite());
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.25, 12.0, 9876.5, 25_000.0, 123_456.0, 1.5e6];
        assert_eq!(numbers.map(number), ["0.25", "12", "9876", "25 k", "123 k", "1.5 M"]);
    }

    #[test]
    fn charts_show_what_there_is_and_nothing_for_what_is_missing() {
        let series = |values| Series { name: "a < b".into(), values };
        let lines = Lines {
            title: "lines".into(),
            x_title: "x",
            y_title: "y",
            steps: vec!["1".into(), "2".into(), "3".into()],
            series: vec![series(vec![Some(1.0), None, Some(3.0)])],
            scale: Scale::Linear,
        };
        let svg = lines.draw();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        let bars = Bars {
            title: "bars".into(),
            x_title: "x",
            rows: vec!["r".into(), "s".into()],
            series: vec![series(vec![Some(1.0), None])],
            labels: vec![vec!["one".into(), String::new()]],
        };
        assert_eq!(bars.draw().matches(">one<").count(), 1);
    }
}
