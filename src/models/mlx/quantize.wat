;; mx.quantize in affine mode, group by group: float32 arithmetic, one rounding per operation, no fused multiply-add.
;; Four weights at a time; compiled to quantize.wasm by `npm run generate`.
(module
  (import "host" "memory" (memory 1))

  ;; One group as float32 lies here, so that it is converted once and read twice.
  (global $scratch i32 (i32.const 0))

  ;; Packs the 8 codes in the bytes of $codes, $bits each, into the low 8 * $bits bits.
  (func $pack (param $codes i64) (param $bits i64) (result i64)
    (local.set $codes
      (i64.or
        (i64.and (local.get $codes) (i64.const 0x00ff00ff00ff00ff))
        (i64.shl
          (i64.and (i64.shr_u (local.get $codes) (i64.const 8)) (i64.const 0x00ff00ff00ff00ff))
          (local.get $bits))))
    (local.set $codes
      (i64.or
        (i64.and (local.get $codes) (i64.const 0x0000ffff0000ffff))
        (i64.shl
          (i64.and (i64.shr_u (local.get $codes) (i64.const 16)) (i64.const 0x0000ffff0000ffff))
          (i64.shl (local.get $bits) (i64.const 1)))))
    (i64.or
      (i64.and (local.get $codes) (i64.const 0x00000000ffffffff))
      (i64.shl (i64.shr_u (local.get $codes) (i64.const 32)) (i64.shl (local.get $bits) (i64.const 2)))))

  ;; The four weights at $at: kind 0 float32, 1 bfloat16, 2 float16.
  (func $load (param $at i32) (param $kind i32) (result v128)
    (local $halves v128)
    (local $magnitude v128)
    (if (i32.eqz (local.get $kind)) (then (return (v128.load (local.get $at)))))
    (local.set $halves (v128.load16x4_u (local.get $at)))
    (if (i32.eq (local.get $kind) (i32.const 1))
      (then (return (i32x4.shl (local.get $halves) (i32.const 16)))))
    ;; Exponent and fraction of a half in the place of a float's, times 2^112: subnormal numbers come out right too.
    (local.set $magnitude
      (i32x4.shl (v128.and (local.get $halves) (v128.const i32x4 0x7fff 0x7fff 0x7fff 0x7fff)) (i32.const 13)))
    (v128.or
      (v128.or
        (f32x4.mul (local.get $magnitude) (v128.const i32x4 0x77800000 0x77800000 0x77800000 0x77800000))
        ;; Infinity and NaN keep the largest exponent.
        (v128.and
          (i32x4.ge_u (local.get $magnitude) (v128.const i32x4 0x0f800000 0x0f800000 0x0f800000 0x0f800000))
          (v128.const i32x4 0x7f800000 0x7f800000 0x7f800000 0x7f800000)))
      (i32x4.shl (v128.and (local.get $halves) (v128.const i32x4 0x8000 0x8000 0x8000 0x8000)) (i32.const 16))))

  ;; The smallest (lane 0) and the largest (lane 1) of a group, which is left as float32 in the scratch. NaN is passed over:
  ;; pmin and pmax take the new value only where the comparison is true.
  (func $range (param $source i32) (param $size i32) (param $kind i32) (param $floor f32) (result v128)
    (local $i i32)
    (local $step i32)
    (local $values v128)
    (local $low v128)
    (local $high v128)
    (local.set $step (select (i32.const 8) (i32.const 16) (local.get $kind)))
    (local.set $low (f32x4.splat (f32.const inf)))
    (local.set $high (f32x4.splat (local.get $floor)))
    (loop $next
      (local.set $values (call $load (local.get $source) (local.get $kind)))
      (v128.store (i32.shl (local.get $i) (i32.const 2)) (local.get $values))
      (local.set $low (f32x4.pmin (local.get $low) (local.get $values)))
      (local.set $high (f32x4.pmax (local.get $high) (local.get $values)))
      (local.set $source (i32.add (local.get $source) (local.get $step)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $size))))
    (local.set $low
      (f32x4.pmin (local.get $low) (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $low) (local.get $low))))
    (local.set $low
      (f32x4.pmin (local.get $low) (i8x16.shuffle 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 (local.get $low) (local.get $low))))
    (local.set $high
      (f32x4.pmax (local.get $high) (i8x16.shuffle 8 9 10 11 12 13 14 15 0 1 2 3 4 5 6 7 (local.get $high) (local.get $high))))
    (local.set $high
      (f32x4.pmax (local.get $high) (i8x16.shuffle 4 5 6 7 0 1 2 3 4 5 6 7 0 1 2 3 (local.get $high) (local.get $high))))
    (f32x4.replace_lane 1 (local.get $low) (f32x4.extract_lane 0 (local.get $high))))

  ;; Half away from zero, as Metal's round: trunc and a step where the rest is a half or more.
  (func $roundAway (param $x f32) (result f32)
    (local $whole f32)
    (local.set $whole (f32.trunc (local.get $x)))
    (if (f32.ge (f32.abs (f32.sub (local.get $x) (local.get $whole))) (f32.const 0.5))
      (then (local.set $whole (f32.add (local.get $whole) (f32.copysign (f32.const 1) (local.get $x))))))
    (local.get $whole))

  (func $roundAway4 (param $x v128) (result v128)
    (local $whole v128)
    (local.set $whole (f32x4.trunc (local.get $x)))
    (f32x4.add
      (local.get $whole)
      (v128.and
        (f32x4.ge (f32x4.abs (f32x4.sub (local.get $x) (local.get $whole))) (f32x4.splat (f32.const 0.5)))
        (v128.or
          (f32x4.splat (f32.const 1))
          (v128.and (local.get $x) (v128.const i32x4 0x80000000 0x80000000 0x80000000 0x80000000))))))

  ;; The codes of the four weights at $at in the scratch, as int32 from 0 to $top; NaN becomes 0.
  (func $codes (param $at i32) (param $scale v128) (param $bias v128) (param $top v128) (param $metal i32) (result v128)
    (local $q v128)
    (local.set $q (f32x4.div (f32x4.sub (v128.load (local.get $at)) (local.get $bias)) (local.get $scale)))
    (local.set $q
      (i32x4.trunc_sat_f32x4_s
        (if (result v128) (local.get $metal)
          (then (call $roundAway4 (local.get $q)))
          (else (f32x4.nearest (local.get $q))))))
    (i32x4.min_s (i32x4.max_s (local.get $q) (v128.const i32x4 0 0 0 0)) (local.get $top)))

  ;; Codes are written as one bit stream, up to 8 bytes past its end; scales and biases as float32.
  (func (export "quantize")
    (param $source i32) (param $groups i32) (param $size i32) (param $bits i32) (param $kind i32) (param $metal i32)
    (param $out i32) (param $scales i32) (param $biases i32)
    (local $range v128) (local $low f32) (local $high f32)
    (local $scale f32) (local $bias f32) (local $edge f32) (local $q0 f32)
    (local $mask i32) (local $at i32) (local $end i32) (local $stride i32) (local $top f32)
    (local $scale4 v128) (local $bias4 v128) (local $top4 v128) (local $bytes v128) (local $bits64 i64)
    (local.set $top (f32.convert_i32_u (i32.sub (i32.shl (i32.const 1) (local.get $bits)) (i32.const 1))))
    (local.set $top4 (i32x4.splat (i32.sub (i32.shl (i32.const 1) (local.get $bits)) (i32.const 1))))
    (local.set $bits64 (i64.extend_i32_u (local.get $bits)))
    (local.set $end (i32.shl (local.get $size) (i32.const 2)))
    (local.set $stride (i32.mul (local.get $size) (select (i32.const 2) (i32.const 4) (local.get $kind))))
    (block $done
      (loop $group
        (br_if $done (i32.eqz (local.get $groups)))
        (local.set $range
          (call $range
            (local.get $source) (local.get $size) (local.get $kind)
            ;; On a GPU the largest starts at 0.
            (select (f32.const 0) (f32.const -inf) (local.get $metal))))
        (local.set $low (f32x4.extract_lane 0 (local.get $range)))
        (local.set $high (f32x4.extract_lane 1 (local.get $range)))
        (local.set $mask (f32.gt (f32.abs (local.get $low)) (f32.abs (local.get $high))))
        (local.set $scale (f32.div (f32.sub (local.get $high) (local.get $low)) (local.get $top)))
        (if (f32.lt (local.get $scale) (f32.const 1e-7)) (then (local.set $scale (f32.const 1e-7))))
        (if (i32.eqz (local.get $mask)) (then (local.set $scale (f32.neg (local.get $scale)))))
        (local.set $edge (select (local.get $low) (local.get $high) (local.get $mask)))
        (local.set $bias (f32.const 0))
        (local.set $q0 (f32.div (local.get $edge) (local.get $scale)))
        (local.set $q0
          (if (result f32) (local.get $metal)
            (then (call $roundAway (local.get $q0)))
            (else (f32.nearest (local.get $q0)))))
        (if (f32.ne (local.get $q0) (f32.const 0))
          (then
            (local.set $scale (f32.div (local.get $edge) (local.get $q0)))
            (local.set $bias (local.get $edge))))
        (f32.store (local.get $scales) (local.get $scale))
        (f32.store (local.get $biases) (local.get $bias))
        (local.set $scale4 (f32x4.splat (local.get $scale)))
        (local.set $bias4 (f32x4.splat (local.get $bias)))
        (local.set $at (global.get $scratch))
        (loop $sixteen
          (local.set $bytes
            (i8x16.narrow_i16x8_u
              (i16x8.narrow_i32x4_s
                (call $codes (local.get $at) (local.get $scale4) (local.get $bias4) (local.get $top4) (local.get $metal))
                (call $codes (i32.add (local.get $at) (i32.const 16)) (local.get $scale4) (local.get $bias4) (local.get $top4) (local.get $metal)))
              (i16x8.narrow_i32x4_s
                (call $codes (i32.add (local.get $at) (i32.const 32)) (local.get $scale4) (local.get $bias4) (local.get $top4) (local.get $metal))
                (call $codes (i32.add (local.get $at) (i32.const 48)) (local.get $scale4) (local.get $bias4) (local.get $top4) (local.get $metal)))))
          (i64.store align=1 (local.get $out)
            (call $pack (i64x2.extract_lane 0 (local.get $bytes)) (local.get $bits64)))
          (local.set $out (i32.add (local.get $out) (local.get $bits)))
          (i64.store align=1 (local.get $out)
            (call $pack (i64x2.extract_lane 1 (local.get $bytes)) (local.get $bits64)))
          (local.set $out (i32.add (local.get $out) (local.get $bits)))
          (local.set $at (i32.add (local.get $at) (i32.const 64)))
          (br_if $sixteen (i32.lt_u (local.get $at) (local.get $end))))
        (local.set $source (i32.add (local.get $source) (local.get $stride)))
        (local.set $scales (i32.add (local.get $scales) (i32.const 4)))
        (local.set $biases (i32.add (local.get $biases) (i32.const 4)))
        (local.set $groups (i32.sub (local.get $groups) (i32.const 1)))
        (br $group)))))
