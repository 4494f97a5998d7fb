;; One pass over bytes as 32-bit words: their sum, their sum with each word times its place, and whether a float is infinite
;; or NaN. Compiled to scan.wasm by `npm run generate`.
(module
  ;; The results lie here and grow with every call: sum, sum with places, exponents seen.
  (memory (export "memory") 1)

  (func $lanes (param $v v128) (result i32)
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get $v)) (i32x4.extract_lane 1 (local.get $v)))
      (i32.add (i32x4.extract_lane 2 (local.get $v)) (i32x4.extract_lane 3 (local.get $v)))))

  ;; From $at to $end, a multiple of 64 bytes and not empty; $first is the place of the first word. Exponents: an addition of
  ;; $one to what $mask leaves reaches the sign's place when an exponent is all ones.
  (func (export "scan") (param $at i32) (param $end i32) (param $first i32) (param $mask i32) (param $one i32)
    (local $v v128)
    (local $masks v128)
    (local $ones v128)
    (local $sum v128)
    (local $prefix v128)
    (local $seen v128)
    (local $vectors i32)
    (local $total i32)
    (local.set $vectors (i32.shr_u (i32.sub (local.get $end) (local.get $at)) (i32.const 4)))
    (local.set $masks (i32x4.splat (local.get $mask)))
    (local.set $ones (i32x4.splat (local.get $one)))
    (loop $next
      (local.set $v (v128.load (local.get $at)))
      (local.set $sum (i32x4.add (local.get $sum) (local.get $v)))
      (local.set $prefix (i32x4.add (local.get $prefix) (local.get $sum)))
      (local.set $seen
        (v128.or (local.get $seen) (i32x4.add (v128.and (local.get $v) (local.get $masks)) (local.get $ones))))
      (local.set $v (v128.load offset=16 (local.get $at)))
      (local.set $sum (i32x4.add (local.get $sum) (local.get $v)))
      (local.set $prefix (i32x4.add (local.get $prefix) (local.get $sum)))
      (local.set $seen
        (v128.or (local.get $seen) (i32x4.add (v128.and (local.get $v) (local.get $masks)) (local.get $ones))))
      (local.set $v (v128.load offset=32 (local.get $at)))
      (local.set $sum (i32x4.add (local.get $sum) (local.get $v)))
      (local.set $prefix (i32x4.add (local.get $prefix) (local.get $sum)))
      (local.set $seen
        (v128.or (local.get $seen) (i32x4.add (v128.and (local.get $v) (local.get $masks)) (local.get $ones))))
      (local.set $v (v128.load offset=48 (local.get $at)))
      (local.set $sum (i32x4.add (local.get $sum) (local.get $v)))
      (local.set $prefix (i32x4.add (local.get $prefix) (local.get $sum)))
      (local.set $seen
        (v128.or (local.get $seen) (i32x4.add (v128.and (local.get $v) (local.get $masks)) (local.get $ones))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $total (call $lanes (local.get $sum)))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get $total)))
    ;; Vector k of K is in $prefix K - k times, and its lane l is the word 4k + l.
    (i32.store (i32.const 4)
      (i32.add
        (i32.load (i32.const 4))
        (i32.add
          (i32.mul (local.get $first) (local.get $total))
          (i32.add
            (i32.shl
              (i32.sub (i32.mul (local.get $vectors) (local.get $total)) (call $lanes (local.get $prefix)))
              (i32.const 2))
            (call $lanes (i32x4.mul (local.get $sum) (v128.const i32x4 0 1 2 3)))))))
    (i32.store (i32.const 8)
      (i32.or
        (i32.load (i32.const 8))
        (i32.or
          (i32.or (i32x4.extract_lane 0 (local.get $seen)) (i32x4.extract_lane 1 (local.get $seen)))
          (i32.or (i32x4.extract_lane 2 (local.get $seen)) (i32x4.extract_lane 3 (local.get $seen))))))))
