// SPDX-License-Identifier: Apache-2.0
// Names the three likeliest classes of an image through elek's C interface: classify_rs MODEL IMAGE
//     rustc classify.rs -L FOLDER_OF_LIBELEK_SO -o classify_rs
use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::null;

#[repr(C)]
#[derive(Default)]
struct Shape {
    channels: i64,
    height: i64,
    width: i64,
    classes: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Class {
    index: i64,
    probability: f64,
    label: *const c_char,
}

#[link(name = "elek")]
extern "C" {
    fn elek_session_open_file(path: *const c_char, options: *const c_void, session: *mut *mut c_void) -> i32;
    fn elek_session_close(session: *mut c_void);
    fn elek_session_model(session: *const c_void) -> *const c_void;
    fn elek_session_run_pixels(session: *mut c_void, pixels: *const u8, samples: usize, logits: *mut f32) -> i32;
    fn elek_model_shape(model: *const c_void, shape: *mut Shape) -> i32;
    fn elek_model_read_image(model: *const c_void, path: *const c_char, pixels: *mut u8, pixels_bytes: usize) -> i32;
    fn elek_model_top_k(model: *const c_void, logits: *const f32, k: usize, top: *mut Class) -> i32;
    fn elek_last_error(session: *const c_void) -> *const c_char;
}

fn check(status: i32) {
    if status != 0 {
        eprintln!("classify_rs: {}", unsafe { CStr::from_ptr(elek_last_error(null())) }.to_string_lossy());
        std::process::exit(status);
    }
}

fn main() {
    let arguments: Vec<CString> = std::env::args().skip(1).map(|word| CString::new(word).unwrap()).collect();
    let [model_path, image_path] = &arguments[..] else {
        eprintln!("usage: classify_rs MODEL IMAGE");
        std::process::exit(2);
    };
    unsafe {
        let mut session = std::ptr::null_mut();
        check(elek_session_open_file(model_path.as_ptr(), null(), &mut session));
        let model = elek_session_model(session);
        let mut shape = Shape::default();
        check(elek_model_shape(model, &mut shape));
        let mut pixels = vec![0u8; (shape.channels * shape.height * shape.width) as usize];
        let mut logits = vec![0f32; shape.classes as usize];
        check(elek_model_read_image(model, image_path.as_ptr(), pixels.as_mut_ptr(), pixels.len()));
        check(elek_session_run_pixels(session, pixels.as_ptr(), 1, logits.as_mut_ptr()));
        let mut top = [Class { index: 0, probability: 0.0, label: null() }; 3];
        check(elek_model_top_k(model, logits.as_ptr(), top.len(), top.as_mut_ptr()));
        for best in top {
            let label = if best.label.is_null() { best.index.to_string() } else { CStr::from_ptr(best.label).to_string_lossy().into() };
            println!("{:5.1} %  {}", 100.0 * best.probability, label);
        }
        elek_session_close(session);
    }
}
