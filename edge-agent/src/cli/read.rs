//! `milepost read`: photos in, plates out; one line for each photo (`--json`) or each plate.
//!
//! Every photo is answered: a file that can't be read is one error line, the rest is done, and the
//! exit code is 1 at the end, as it is where nothing could be started (library, models).

use std::{
    borrow::Cow,
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Args;
use serde::Serialize;

use crate::{
    config::{Precision, Provider, Vision},
    geometry::{Point, Polygon},
    vision::{
        Character, Photo, Runtime,
        photo::MAX_BYTES,
        still::{Found, StillPlate, Stills},
    },
};

/// A single character is an emblem or a piece of lettering far more often than a plate.
const MIN_CHARACTERS: usize = 2;

/// Read the plates in photos
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  milepost read car.jpg
  milepost read --json photos/*.jpg > plates.jsonl
  milepost read --roi 400,300,800,500 gate.png
  milepost read --roi '400,300 1200,320 1180,800 380,790' gate.png")]
pub struct ReadArgs {
    /// Print one JSON object a line for each photo
    #[arg(long)]
    pub json: bool,
    /// Only plates whose centre is inside: `x,y,w,h`, or a polygon `x,y x,y x,y …`, in pixels; may be
    /// given more than once
    #[arg(long, value_name = "REGION", value_parser = parse_region)]
    pub roi: Vec<Polygon>,
    /// Folder of the models [default: `models` of the build tree or the installation]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Width that photos are scaled down to for detection, a multiple of 32
    #[arg(long, value_name = "PX", default_value_t = 640, value_parser = parse_width)]
    pub width: usize,
    /// Detections of a lower score are left out, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = 0.45, value_parser = parse_share)]
    pub min_score: f32,
    /// Texts that the reader is less sure of are left empty, 0 to 1, as are those of one character
    #[arg(long, value_name = "SHARE", default_value_t = 0.3, value_parser = parse_share)]
    pub min_confidence: f32,
    /// Plates of fewer pixels in width are found and not read: below 40 strokes are narrower than a pixel
    #[arg(long, value_name = "PX", default_value_t = 40, value_parser = clap::value_parser!(u16).range(..=2000))]
    pub min_width: u16,
    /// Threads for one inference
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: u8,
    /// Which of the models' files: fp32, fp16 or int8
    #[arg(long, default_value = "fp32", value_parser = precision)]
    pub precision: Precision,
    /// JPEG or PNG files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
}

fn precision(text: &str) -> Result<Precision, String> {
    Precision::from_name(text).ok_or_else(|| "it is fp32, fp16 or int8".into())
}

/// Reads the photos and prints what they show.
pub fn run(args: &ReadArgs) -> ExitCode {
    let config = Vision {
        models_dir: args.models.clone().unwrap_or_else(default_models),
        onnxruntime_library: None,
        execution_providers: vec![Provider::Cpu],
        precision: args.precision,
        threads: usize::from(args.threads),
        detect_width: args.width,
        detect_every: 1,
        min_score: args.min_score,
        min_plate_width: f32::from(args.min_width),
        motion_gate: false,
        regions: args.roi.clone(),
    };
    let stills = Runtime::load(None).and_then(|runtime| Stills::load(&runtime, &config));
    let mut stills = match stills {
        Ok(stills) => stills,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let out = io::stdout().lock();
    match read_all(args, &mut stills, out) {
        Ok(true) => ExitCode::SUCCESS,
        // A closed pipe (`| head`) is the reader's way to say enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: can't write the result: {e}");
            ExitCode::FAILURE
        }
    }
}

/// True where every photo could be read.
fn read_all(args: &ReadArgs, stills: &mut Stills, mut out: impl Write) -> io::Result<bool> {
    let mut whole = true;
    for path in &args.images {
        match read_one(path, stills, args.min_confidence) {
            Ok(photo) if args.json => photo.print_json(&mut out)?,
            Ok(photo) => photo.print(&mut out)?,
            Err(error) => {
                whole = false;
                if args.json {
                    let line =
                        serde_json::json!({ "file": path.to_string_lossy(), "error": error });
                    writeln!(out, "{line}")?;
                } else {
                    eprintln!("error: {}: {error}", path.display());
                }
            }
        }
    }
    out.flush()?;
    Ok(whole)
}

/// A photo that was read.
struct ReadPhoto<'a> {
    path: &'a Path,
    width: usize,
    height: usize,
    decode_ms: f64,
    min_confidence: f32,
    found: Found,
}

fn read_one<'a>(
    path: &'a Path,
    stills: &mut Stills,
    min_confidence: f32,
) -> Result<ReadPhoto<'a>, String> {
    let started = Instant::now();
    let about = fs::metadata(path).map_err(|e| e.to_string())?;
    if !about.is_file() {
        return Err("not a file".into());
    }
    if about.len() > MAX_BYTES {
        return Err(format!("larger than {} MiB", MAX_BYTES >> 20));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let photo = Photo::decode(&bytes).map_err(|e| e.to_string())?;
    let decode_ms = ms(started.elapsed());
    let found = stills.read(photo.luma()).map_err(|e| e.to_string())?;
    Ok(ReadPhoto {
        min_confidence,
        path,
        width: photo.width,
        height: photo.height,
        decode_ms,
        found,
    })
}

impl ReadPhoto<'_> {
    fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        let line = PhotoLine {
            file: self.path.to_string_lossy(),
            size: [self.width, self.height],
            plates: self.found.plates.iter().map(|p| self.plate(p)).collect(),
            ms: Times {
                decode: self.decode_ms,
                detect: ms(self.found.detect),
                read: ms(self.found.read),
            },
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)
    }

    fn shows(&self, plate: &StillPlate) -> bool {
        plate.reading.confidence() >= self.min_confidence
            && plate.reading.characters.len() >= MIN_CHARACTERS
    }

    fn text(&self, plate: &StillPlate) -> String {
        if self.shows(plate) { plate.reading.text() } else { String::new() }
    }

    /// One plate; its characters only where the reader is sure enough.
    fn plate<'a>(&self, plate: &'a StillPlate) -> PlateLine<'a> {
        let b = plate.corners.bounds();
        let state = plate.reading.state.as_ref();
        let shown: &[Character] = if self.shows(plate) { &plate.reading.characters } else { &[] };
        PlateLine {
            text: self.text(plate),
            raw_text: if self.shows(plate) { &plate.raw } else { "" },
            confidence: rounded(plate.reading.confidence()),
            characters: shown
                .iter()
                .map(|c| CharacterLine {
                    text: c.text,
                    probability: rounded(c.probability),
                    alternatives: c
                        .alternatives
                        .iter()
                        .map(|&(text, p)| Alternative { text, probability: rounded(p) })
                        .collect(),
                })
                .collect(),
            corners: plate.corners.0.map(|p| [pixel(p.x), pixel(p.y)]),
            bounds: [pixel(b.x), pixel(b.y), pixel(b.width), pixel(b.height)],
            score: rounded(plate.score),
            state: state.map(|(state, _)| state.as_str()),
            state_confidence: state.map(|&(_, p)| rounded(p)),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if self.found.plates.is_empty() {
            writeln!(out, "{}: no plate", self.path.display())?;
        }
        for plate in &self.found.plates {
            let b = plate.corners.bounds();
            let text = self.text(plate);
            let text = if text.is_empty() { "(not read)" } else { &text };
            let state = plate.reading.state.as_ref().map_or("-", |(s, _)| s.as_str());
            writeln!(
                out,
                "{}: {text:<10} {:>3.0} %  {state:<6} at {:.0},{:.0} {:.0}×{:.0}",
                self.path.display(),
                100.0 * plate.reading.confidence(),
                b.x,
                b.y,
                b.width,
                b.height
            )?;
        }
        Ok(())
    }
}

/// The JSON line of one photo.
#[derive(Serialize)]
struct PhotoLine<'a> {
    file: Cow<'a, str>,
    /// Width and height in pixels.
    size: [usize; 2],
    plates: Vec<PlateLine<'a>>,
    ms: Times,
}

#[derive(Serialize)]
struct PlateLine<'a> {
    text: String,
    raw_text: &'a str,
    confidence: f64,
    characters: Vec<CharacterLine>,
    corners: [[f64; 2]; 4],
    #[serde(rename = "box")]
    bounds: [f64; 4],
    score: f64,
    state: Option<&'a str>,
    state_confidence: Option<f64>,
}

#[derive(Serialize)]
struct CharacterLine {
    text: char,
    probability: f64,
    alternatives: Vec<Alternative>,
}

#[derive(Serialize)]
struct Alternative {
    text: char,
    probability: f64,
}

#[derive(Serialize)]
struct Times {
    decode: f64,
    detect: f64,
    read: f64,
}

/// To six digits after the point: more are noise.
fn rounded(p: f32) -> f64 {
    (f64::from(p) * 1e6).round() / 1e6
}

/// To hundredths of a pixel.
fn pixel(x: f32) -> f64 {
    (f64::from(x) * 100.0).round() / 100.0
}

/// Milliseconds to microseconds' precision.
fn ms(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `models` in the working directory, beside the program's build tree, or where it is installed.
fn default_models() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let beside = program.parent().map(Path::to_owned).unwrap_or_default();
    let places = [
        PathBuf::from("models"),
        beside.join("../../models"),
        beside.join("../share/milepost/models"),
    ];
    places
        .into_iter()
        .find(|place| place.join("manifest.toml").is_file())
        .unwrap_or_else(|| "models".into())
}

/// `x,y,w,h` or `x,y x,y x,y …`.
fn parse_region(text: &str) -> Result<Polygon, String> {
    let wrong =
        || "should be `x,y,w,h` or at least three points `x,y x,y x,y`, in pixels".to_owned();
    let groups: Vec<Vec<f32>> = text
        .split([' ', ';'])
        .filter(|group| !group.is_empty())
        .map(|group| {
            group
                .split(',')
                .map(|n| n.trim().parse::<f32>().ok().filter(|n| n.is_finite()).ok_or_else(wrong))
                .collect()
        })
        .collect::<Result<_, _>>()?;
    if let [numbers] = groups.as_slice() {
        let &[x, y, w, h] = numbers.as_slice() else { return Err(wrong()) };
        if w <= 0.0 || h <= 0.0 {
            return Err("width and height should be above 0".into());
        }
        return Ok(Polygon(
            [(x, y), (x + w, y), (x + w, y + h), (x, y + h)].map(|(x, y)| Point::new(x, y)).into(),
        ));
    }
    let points: Vec<Point> = groups
        .iter()
        .map(|group| match group.as_slice() {
            &[x, y] => Ok(Point::new(x, y)),
            _ => Err(wrong()),
        })
        .collect::<Result<_, _>>()?;
    if points.len() < 3 { Err(wrong()) } else { Ok(Polygon(points)) }
}

fn parse_width(text: &str) -> Result<usize, String> {
    text.parse::<usize>()
        .ok()
        .filter(|n| n % 32 == 0 && (64..=1536).contains(n))
        .ok_or_else(|| "should be a multiple of 32 from 64 to 1536".into())
}

fn parse_share(text: &str) -> Result<f32, String> {
    text.parse::<f32>()
        .ok()
        .filter(|n| (0.0..=1.0).contains(n))
        .ok_or_else(|| "should be a number from 0 to 1".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_a_box_or_a_polygon() {
        let square = parse_region("10,20,30,40").expect("a box");
        assert!(
            square.contains(Point::new(25.0, 40.0)) && !square.contains(Point::new(45.0, 40.0))
        );
        assert_eq!(parse_region("0,0 10,0 0,10").expect("a triangle").0.len(), 3);
        assert_eq!(parse_region("0,0; 10,0; 0,10").expect("a triangle").0.len(), 3);
        for bad in ["", "1,2,3", "1,2,3,x", "1,2,0,4", "1,2 3,4", "1,2 3,4 5", "nan,0,1,1"] {
            assert!(parse_region(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn widths_are_multiples_of_32_within_bounds() {
        assert_eq!(parse_width("640"), Ok(640));
        assert!(["0", "650", "99968", "-32", "x"].iter().all(|w| parse_width(w).is_err()));
    }
}
