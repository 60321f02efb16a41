//! Plots as SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 1000;

/// What the names of the bars take of it.
const NAMES: u32 = 400;

/// The colours of the series; no two that some eyes confuse stand together.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 160),
    RGBColor(230, 140, 0),
    RGBColor(0, 140, 110),
    RGBColor(200, 60, 60),
    RGBColor(120, 80, 170),
    RGBColor(90, 90, 90),
    RGBColor(0, 170, 220),
    RGBColor(170, 120, 60),
];

/// One group of bars a name, one bar a series.
pub fn bars(title: &str, series: &[&str], groups: &[(String, Vec<f64>)]) -> Result<String, String> {
    let rows = groups.len() * (series.len() + 1);
    // Room for the legend below the bars.
    let below = if series.len() > 1 {
        1.0 + series.len() as f64
    } else {
        0.0
    };
    let height = 110 + (18.0 * (rows as f64 + below)) as u32;
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars)
        .fold(0.0_f64, |most, bar| most.max(*bar));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(text)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(0.0..most * 1.12, -below..rows as f64)
            .map_err(text)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(TRANSPARENT)
            .disable_y_axis()
            .y_labels(0)
            .x_label_formatter(&|value| format!("{value:.1} ×"))
            .draw()
            .map_err(text)?;
        let top = |group: usize, bar: usize| (rows - group * (series.len() + 1) - bar) as f64;
        for (group, (name, _)) in groups.iter().enumerate() {
            let middle = top(group, 0) - series.len() as f64 / 2.0;
            let (_, y) = chart.backend_coord(&(0.0, middle));
            let beside = Pos::new(HPos::Right, VPos::Center);
            let style = ("sans-serif", 13).into_font().color(&BLACK).pos(beside);
            area.draw(&Text::new(name.as_str(), (NAMES as i32, y), style))
                .map_err(text)?;
        }
        for (bar, label) in series.iter().enumerate() {
            let colour = COLOURS[bar % COLOURS.len()];
            let bars = groups.iter().enumerate().map(|(group, (_, bars))| {
                let top = top(group, bar);
                Rectangle::new([(0.0, top - 0.1), (bars[bar], top - 0.9)], colour.filled())
            });
            let drawn = chart.draw_series(bars).map_err(text)?;
            if series.len() > 1 {
                drawn.label(*label).legend(move |(x, y)| {
                    Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
                });
            }
            let figures = groups.iter().enumerate().map(|(group, (_, bars))| {
                let figure = format!(" {:.2}", bars[bar]);
                Text::new(
                    figure,
                    (bars[bar], top(group, bar) - 0.15),
                    ("sans-serif", 12),
                )
            });
            chart.draw_series(figures).map_err(text)?;
        }
        let equal = PathElement::new([(1.0, 0.0), (1.0, rows as f64)], BLACK.stroke_width(1));
        chart.draw_series([equal]).map_err(text)?;
        if series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .draw()
                .map_err(text)?;
        }
        area.present().map_err(text)?;
    }
    Ok(svg)
}

/// Lines over powers of ten.
pub fn lines(title: &str, lines: &[(String, Vec<(f64, f64)>)]) -> Result<String, String> {
    let points = || lines.iter().flat_map(|(_, line)| line);
    let least = points().fold(f64::INFINITY, |least, (x, _)| least.min(*x));
    let right = points().fold(0.0_f64, |most, (x, _)| most.max(*x));
    let most = points().fold(0.0_f64, |most, (_, y)| most.max(*y));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 420)).into_drawing_area();
        area.fill(&WHITE).map_err(text)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(30)
            .y_label_area_size(45)
            .build_cartesian_2d(least - 0.1..right + 0.1, 0.0..most * 1.4)
            .map_err(text)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(8)
            .x_label_formatter(&|value| match value.fract().abs() < 0.01 {
                true => format!("10^{value:.0}"),
                false => String::new(),
            })
            .draw()
            .map_err(text)?;
        for (index, (name, line)) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let series =
                LineSeries::new(line.iter().copied(), colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(series)
                .map_err(text)?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(text)?;
        area.present().map_err(text)?;
    }
    Ok(svg)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
