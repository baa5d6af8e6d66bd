//! A merged tensor: a recipe over its inputs, which is computed where its elements are needed.

use std::sync::Arc;

use evo_kernels::merge::{Element, Merged, Scratch};
use evo_lang::codegen::rows::{Column, ColumnMut, Storage};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::methods::{Method, no_models};
use super::weight::TensorInfo;
use crate::cx::Failure;
use crate::model::{DType, Recipe, Tensor, View, ViewMut};

/// An element type whose slices are columns of row code.
pub(super) trait Stored: Element {
    const STORAGE: Storage;
    const DTYPE: DType;
    fn column(elements: &[Self]) -> Column<'_>;
    fn column_mut(elements: &mut [Self]) -> ColumnMut<'_>;
    /// The elements of a view of this type.
    fn of(view: View<'_>) -> Option<&[Self]>;
    /// The room of this type.
    fn of_mut(room: ViewMut<'_>) -> Option<&mut [Self]>;
}

impl Stored for f32 {
    const STORAGE: Storage = Storage::F32;
    const DTYPE: DType = DType::F32;

    fn of(view: View<'_>) -> Option<&[f32]> {
        if let View::F32(elements) = view { Some(elements) } else { None }
    }

    fn of_mut(room: ViewMut<'_>) -> Option<&mut [f32]> {
        if let ViewMut::F32(elements) = room { Some(elements) } else { None }
    }

    fn column(elements: &[f32]) -> Column<'_> {
        Column::F32(elements)
    }

    fn column_mut(elements: &mut [f32]) -> ColumnMut<'_> {
        ColumnMut::F32(elements)
    }
}

impl Stored for bf16 {
    const STORAGE: Storage = Storage::Bf16;
    const DTYPE: DType = DType::BF16;

    fn of(view: View<'_>) -> Option<&[bf16]> {
        if let View::BF16(elements) = view { Some(elements) } else { None }
    }

    fn of_mut(room: ViewMut<'_>) -> Option<&mut [bf16]> {
        if let ViewMut::BF16(elements) = room { Some(elements) } else { None }
    }

    fn column(elements: &[bf16]) -> Column<'_> {
        Column::Bf16(elements.reinterpret_cast())
    }

    fn column_mut(elements: &mut [bf16]) -> ColumnMut<'_> {
        ColumnMut::Bf16(elements.reinterpret_cast_mut())
    }
}

impl Stored for f16 {
    const STORAGE: Storage = Storage::F16;
    const DTYPE: DType = DType::F16;

    fn of(view: View<'_>) -> Option<&[f16]> {
        if let View::F16(elements) = view { Some(elements) } else { None }
    }

    fn of_mut(room: ViewMut<'_>) -> Option<&mut [f16]> {
        if let ViewMut::F16(elements) = room { Some(elements) } else { None }
    }

    fn column(elements: &[f16]) -> Column<'_> {
        Column::F16(elements.reinterpret_cast())
    }

    fn column_mut(elements: &mut [f16]) -> ColumnMut<'_> {
        ColumnMut::F16(elements.reinterpret_cast_mut())
    }
}

/// What a method makes of one tensor.
pub(super) trait Rule<E>: Send + Sync {
    /// Writes the elements from `start` on, where `inputs` are that range of each input.
    fn write(&self, inputs: &[&[E]], start: usize, out: &mut [E]);

    /// The input that the result is equal to, if it is known to be.
    fn input(&self) -> Option<usize> {
        None
    }
}

impl<E: Stored> Rule<E> for Merged<E> {
    fn write(&self, inputs: &[&[E]], start: usize, out: &mut [E]) {
        Merged::write(self, inputs, start, out, &mut Scratch::new());
    }

    fn input(&self) -> Option<usize> {
        Merged::input(self)
    }
}

/// A rule and what it is applied to.
struct Made<E> {
    inputs: Vec<Tensor>,
    rule: Box<dyn Rule<E>>,
}

impl<E: Stored> Recipe for Made<E> {
    fn write(&self, start: usize, out: ViewMut<'_>) {
        let Some(out) = E::of_mut(out) else { return };
        let views: Option<Vec<&[E]>> =
            self.inputs.iter().map(|input| E::of(input.view()?)?.get(start..start + out.len())).collect();
        if let Some(views) = views {
            return self.rule.write(&views, start, out);
        }
        // Inputs of several types are merged in f32.
        let wide: Vec<Vec<E>> = self.inputs.iter().map(|input| read(input, start, out.len())).collect();
        let views: Vec<&[E]> = wide.iter().map(Vec::as_slice).collect();
        self.rule.write(&views, start, out);
    }
}

/// A range of a tensor in another type.
fn read<E: Stored>(input: &Tensor, start: usize, len: usize) -> Vec<E> {
    let mut wide = vec![0f32; len];
    // That it can be read was seen when the merge was made.
    input.read(start, &mut wide);
    wide.into_iter().map(E::from_f32).collect()
}

/// One tensor: in its own element type where all inputs have one, else in `f32`. What is not floating-point is shared, and so is
/// what a merge leaves as it is in an input.
pub(super) fn merge_tensor(inputs: &[&Tensor], info: &TensorInfo, method: &impl Method) -> Result<Tensor, Failure> {
    let Some(first) = inputs.first() else {
        return Err(no_models());
    };
    if !first.dtype().is_float() {
        return Ok((*first).clone());
    }
    let views: Vec<View<'_>> = inputs.iter().filter_map(|input| input.view()).collect();
    if let Some(made) = made::<bf16>(inputs, &views, info, method) {
        return made;
    }
    if let Some(made) = made::<f16>(inputs, &views, info, method) {
        return made;
    }
    let wide: Option<Vec<_>> = inputs.iter().map(|t| t.to_f32()).collect();
    let wide =
        wide.ok_or_else(|| Failure::new("E0304", format!("tensor `{}` is not of one kind in all models", info.name)))?;
    tensor(inputs, &wide.iter().map(|x| &**x).collect::<Vec<&[f32]>>(), info, method)
}

/// The merge in elements of type `E`, if all inputs are of them.
fn made<E: Stored>(
    inputs: &[&Tensor],
    views: &[View<'_>],
    info: &TensorInfo,
    method: &impl Method,
) -> Option<Result<Tensor, Failure>> {
    let elements: Option<Vec<&[E]>> = views.iter().map(|view| E::of(*view)).collect();
    let elements = elements.filter(|all| all.len() == inputs.len())?;
    Some(tensor(inputs, &elements, info, method))
}

fn tensor<E: Stored>(
    inputs: &[&Tensor],
    elements: &[&[E]],
    info: &TensorInfo,
    method: &impl Method,
) -> Result<Tensor, Failure> {
    let rule = method.rule(elements, info)?;
    let input = rule.input().and_then(|i| inputs.get(i)).filter(|input| input.dtype() == E::DTYPE);
    if let Some(input) = input {
        return Ok((*input).clone());
    }
    let recipe = Made { inputs: inputs.iter().map(|&input| input.clone()).collect(), rule };
    Ok(Tensor::from_recipe(E::DTYPE, info.shape.clone(), Arc::new(recipe)))
}
