;; The canary's kernels: a known load on memory and on the arithmetic units. `npm run generate` makes canary-wasm.ts of it.
(module
  ;; Shared by all threads; each reads its own part. Sizes are pages of 64 KiB.
  (import "canary" "memory" (memory 1 65536 shared))

  ;; Pages that were never written are one page of zeros, which lies in the cache: every byte is written once.
  (func (export "fill") (param $from i32) (param $byteCount i32)
    (memory.fill (local.get $from) (i32.const 1) (local.get $byteCount)))

  ;; Reads [from, to), a multiple of 256 bytes, and adds everything up, so that no load can be left out.
  ;; Eight sums: a single one would wait for itself.
  (func (export "read") (param $from i32) (param $to i32) (result i32)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128) (local $a4 v128) (local $a5 v128) (local $a6 v128) (local $a7 v128)
    (loop $next
      (local.set $a0 (i64x2.add (local.get $a0) (v128.load (local.get $from))))
      (local.set $a1 (i64x2.add (local.get $a1) (v128.load offset=16 (local.get $from))))
      (local.set $a2 (i64x2.add (local.get $a2) (v128.load offset=32 (local.get $from))))
      (local.set $a3 (i64x2.add (local.get $a3) (v128.load offset=48 (local.get $from))))
      (local.set $a4 (i64x2.add (local.get $a4) (v128.load offset=64 (local.get $from))))
      (local.set $a5 (i64x2.add (local.get $a5) (v128.load offset=80 (local.get $from))))
      (local.set $a6 (i64x2.add (local.get $a6) (v128.load offset=96 (local.get $from))))
      (local.set $a7 (i64x2.add (local.get $a7) (v128.load offset=112 (local.get $from))))
      (local.set $a0 (i64x2.add (local.get $a0) (v128.load offset=128 (local.get $from))))
      (local.set $a1 (i64x2.add (local.get $a1) (v128.load offset=144 (local.get $from))))
      (local.set $a2 (i64x2.add (local.get $a2) (v128.load offset=160 (local.get $from))))
      (local.set $a3 (i64x2.add (local.get $a3) (v128.load offset=176 (local.get $from))))
      (local.set $a4 (i64x2.add (local.get $a4) (v128.load offset=192 (local.get $from))))
      (local.set $a5 (i64x2.add (local.get $a5) (v128.load offset=208 (local.get $from))))
      (local.set $a6 (i64x2.add (local.get $a6) (v128.load offset=224 (local.get $from))))
      (local.set $a7 (i64x2.add (local.get $a7) (v128.load offset=240 (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 256)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $to))))
    (i32x4.extract_lane 0
      (i64x2.add (i64x2.add (i64x2.add (local.get $a0) (local.get $a1)) (i64x2.add (local.get $a2) (local.get $a3))) (i64x2.add (i64x2.add (local.get $a4) (local.get $a5)) (i64x2.add (local.get $a6) (local.get $a7))))))

  ;; 96 floating-point operations a round: twelve chains of a multiplication and an addition on four f32 lanes. One chain
  ;; would wait for itself: both units take some four cycles for a result and can begin one or two in each.
  ;; x * 0.999 + 0.001 stays at 1, far from infinities and denormal numbers, which are slow.
  (func (export "multiplyAdd") (param $rounds i32) (result f32)
    (local $factor v128) (local $term v128)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128) (local $a4 v128) (local $a5 v128) (local $a6 v128) (local $a7 v128) (local $a8 v128) (local $a9 v128) (local $a10 v128) (local $a11 v128)
    (local.set $factor (f32x4.splat (f32.const 0.999)))
    (local.set $term (f32x4.splat (f32.const 0.001)))
    (local.set $a0 (f32x4.splat (f32.const 1.00)))
    (local.set $a1 (f32x4.splat (f32.const 1.01)))
    (local.set $a2 (f32x4.splat (f32.const 1.02)))
    (local.set $a3 (f32x4.splat (f32.const 1.03)))
    (local.set $a4 (f32x4.splat (f32.const 1.04)))
    (local.set $a5 (f32x4.splat (f32.const 1.05)))
    (local.set $a6 (f32x4.splat (f32.const 1.06)))
    (local.set $a7 (f32x4.splat (f32.const 1.07)))
    (local.set $a8 (f32x4.splat (f32.const 1.08)))
    (local.set $a9 (f32x4.splat (f32.const 1.09)))
    (local.set $a10 (f32x4.splat (f32.const 1.10)))
    (local.set $a11 (f32x4.splat (f32.const 1.11)))
    (loop $next
      (local.set $a0 (f32x4.add (f32x4.mul (local.get $a0) (local.get $factor)) (local.get $term)))
      (local.set $a1 (f32x4.add (f32x4.mul (local.get $a1) (local.get $factor)) (local.get $term)))
      (local.set $a2 (f32x4.add (f32x4.mul (local.get $a2) (local.get $factor)) (local.get $term)))
      (local.set $a3 (f32x4.add (f32x4.mul (local.get $a3) (local.get $factor)) (local.get $term)))
      (local.set $a4 (f32x4.add (f32x4.mul (local.get $a4) (local.get $factor)) (local.get $term)))
      (local.set $a5 (f32x4.add (f32x4.mul (local.get $a5) (local.get $factor)) (local.get $term)))
      (local.set $a6 (f32x4.add (f32x4.mul (local.get $a6) (local.get $factor)) (local.get $term)))
      (local.set $a7 (f32x4.add (f32x4.mul (local.get $a7) (local.get $factor)) (local.get $term)))
      (local.set $a8 (f32x4.add (f32x4.mul (local.get $a8) (local.get $factor)) (local.get $term)))
      (local.set $a9 (f32x4.add (f32x4.mul (local.get $a9) (local.get $factor)) (local.get $term)))
      (local.set $a10 (f32x4.add (f32x4.mul (local.get $a10) (local.get $factor)) (local.get $term)))
      (local.set $a11 (f32x4.add (f32x4.mul (local.get $a11) (local.get $factor)) (local.get $term)))
      (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
      (br_if $next (local.get $rounds)))
    (f32x4.extract_lane 0
      (f32x4.add (f32x4.add (f32x4.add (local.get $a0) (f32x4.add (local.get $a1) (local.get $a2))) (f32x4.add (local.get $a3) (f32x4.add (local.get $a4) (local.get $a5)))) (f32x4.add (f32x4.add (local.get $a6) (f32x4.add (local.get $a7) (local.get $a8))) (f32x4.add (local.get $a9) (f32x4.add (local.get $a10) (local.get $a11))))))))
