//! Plots over time as SVG: always of one size and form, so that two of them can be laid side by side.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
/// Of one plot, its title and the numbers below it included.
const HEIGHT: f64 = 170.0;
/// Around the lines: left, right, above, below.
const MARGINS: (f64, f64, f64, f64) = (56.0, 150.0, 30.0, 24.0);
/// In grey and in colours that people who see few of them can tell apart.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// Times that are written below a plot, in seconds apart.
const TICK: usize = 10;

/// Lines over the same time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    /// What it shows, and in which unit.
    pub(super) title: String,
    /// Names, and points of seconds from the beginning and values. Where a second has no point, the line has a gap.
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// All plots below each other. Over each there is a band with a name, from one second to another.
pub(super) fn draw(plots: &[Plot], seconds: usize, (band, from, to): (&str, f64, f64)) -> String {
    let height = HEIGHT * plots.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (number, plot) in plots.iter().enumerate() {
        let (left, right, above, below) = MARGINS;
        let (top, bottom) = (HEIGHT * number as f64 + above, HEIGHT * (number + 1) as f64 - below);
        let across = |second: f64| left + (WIDTH - left - right) * second / seconds as f64;
        let highest = plot.lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
        let most = round_up(highest.fold(0.0, f64::max));
        let down = |value: f64| bottom - (bottom - top) * value / most;
        let (begin, end) = (across(from), across(to));
        let _written = writeln!(
            svg,
            "<rect x=\"{begin:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#eeeeee\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#777777\">{band}</text>\n\
             <text x=\"{left}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
            end - begin,
            bottom - top,
            end + 4.0,
            top + 11.0,
            top - 10.0,
            plot.title
        );
        for value in [0.0, most / 2.0, most] {
            let _written = writeln!(
                svg,
                "<path d=\"M{left} {0:.1}H{1:.1}\" stroke=\"#cccccc\"/><text x=\"{2:.1}\" y=\"{3:.1}\" \
                 text-anchor=\"end\">{value}</text>",
                down(value),
                WIDTH - right,
                left - 6.0,
                down(value) + 4.0
            );
        }
        for second in (0..=seconds).step_by(TICK) {
            let _written = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
                across(second as f64),
                bottom + 14.0
            );
        }
        for (place, (name, points)) in plot.lines.iter().enumerate() {
            let colour = COLOURS[place % COLOURS.len()];
            let mut path = String::new();
            let mut before = f64::NEG_INFINITY;
            for (second, value) in points {
                let letter = if second - before > 1.5 { 'M' } else { 'L' };
                let _written = write!(path, "{letter}{:.1} {:.1}", across(*second), down(*value));
                before = *second;
            }
            let _written = writeln!(
                svg,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
                WIDTH - right + 10.0,
                top + 11.0 + 14.0 * place as f64
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The next of 1, 2, 5, 10, 20, ..; 1 for nothing.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let ten = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * ten).into_iter().find(|limit| *limit >= value).unwrap_or(value)
}

#[test]
fn a_line_has_a_gap_where_nothing_was_told() {
    let points = vec![(0.0, 1.0), (1.0, 2.0), (5.0, 30.0)];
    let plot = Plot { title: "calls".to_owned(), lines: vec![("order".to_owned(), points)] };
    let svg = draw(&[plot], 20, ("away", 2.0, 4.0));
    assert!(svg.contains("d=\"M56.0 143.7L81.7 141.4M184.5 76.4\""), "{svg}");
    assert!(svg.contains(">50</text>") && svg.contains(">away</text>"), "{svg}");
    assert_eq!([0.0, 0.3, 1.0, 7.0].map(round_up), [1.0, 0.5, 1.0, 10.0]);
}
