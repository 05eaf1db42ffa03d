//! Which simulcast layer a subscriber gets.

/// A layer that could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) source: usize,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Packets of it came lately.
    pub(crate) flowing: bool,
}

/// The smallest layer that is at least as large as what is shown, whichever way the picture is turned; the largest
/// when nothing is (0) or everything is too small. Of layers that do not flow the nearest smaller one that does is
/// taken, else the nearest larger one; if nothing flows, the wish stands.
///
/// `layers` are ordered from small to large.
pub(crate) fn choose(layers: &[Candidate], width: u32, height: u32) -> Option<usize> {
    let fits = |l: &Candidate| {
        l.width.max(l.height) >= width.max(height) && l.width.min(l.height) >= width.min(height)
    };
    let wished = match (width, height) {
        (0, 0) => layers.len().checked_sub(1)?,
        _ => layers.iter().position(fits).or_else(|| layers.len().checked_sub(1))?,
    };
    let below = layers[..=wished].iter().rev().find(|l| l.flowing);
    let above = || layers[wished..].iter().find(|l| l.flowing);
    Some(below.or_else(above).unwrap_or(&layers[wished]).source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(flowing: [bool; 3]) -> Vec<Candidate> {
        let sizes = [(320, 180), (640, 360), (1280, 720)];
        let each = |(source, ((width, height), flowing))| Candidate { source, width, height, flowing };
        sizes.into_iter().zip(flowing).enumerate().map(each).collect()
    }

    #[test]
    fn the_smallest_sufficient_layer_is_taken() {
        let all = layers([true; 3]);
        assert_eq!(choose(&all, 0, 0), Some(2));
        assert_eq!(choose(&all, 1, 1), Some(0));
        assert_eq!(choose(&all, 320, 180), Some(0));
        assert_eq!(choose(&all, 321, 180), Some(1));
        assert_eq!(choose(&all, 180, 320), Some(0));
        assert_eq!(choose(&all, 4000, 4000), Some(2));
        assert_eq!(choose(&[], 1, 1), None);
    }

    #[test]
    fn layers_that_do_not_flow_are_replaced() {
        assert_eq!(choose(&layers([true, true, false]), 0, 0), Some(1));
        assert_eq!(choose(&layers([false, false, true]), 1, 1), Some(2));
        assert_eq!(choose(&layers([false; 3]), 500, 300), Some(1));
    }
}
