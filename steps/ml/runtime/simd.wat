;; The optimizer's inner loops, four floats at a time. Arrays are at multiples of 64 bytes of the host's memory, and
;; padded with zeros to whole vectors. optimizers.ts holds the compiled module.
(module
  (memory (import "host" "memory") 0)

  ;; Σ x² in double precision, in a fixed order.
  (func (export "sumOfSquares") (param $x i32) (param $bytes i32) (result f64)
    (local $at i32) (local $low v128) (local $high v128) (local $four v128) (local $half v128)
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $at) (local.get $bytes)))
      (local.set $four (v128.load (i32.add (local.get $x) (local.get $at))))
      (local.set $half (f64x2.promote_low_f32x4 (local.get $four)))
      (local.set $low (f64x2.add (f64x2.mul (local.get $half) (local.get $half)) (local.get $low)))
      (local.set $half (f64x2.promote_low_f32x4
        (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $four) (local.get $four))))
      (local.set $high (f64x2.add (f64x2.mul (local.get $half) (local.get $half)) (local.get $high)))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br $next)))
    (f64.add
      (f64.add (f64x2.extract_lane 0 (local.get $low)) (f64x2.extract_lane 1 (local.get $low)))
      (f64.add (f64x2.extract_lane 0 (local.get $high)) (f64x2.extract_lane 1 (local.get $high)))))

  ;; One AdamW step over `bytes` of weights, gradients and moments. It takes 1 − β, because computing it in single
  ;; precision would lose digits.
  (func (export "adamW") (param $weight i32) (param $gradient i32) (param $m i32) (param $v i32) (param $bytes i32)
    (param $scale f32) (param $keep f32) (param $oneMinusBeta1 f32) (param $beta2 f32) (param $oneMinusBeta2 f32)
    (param $rate f32) (param $correction f32) (param $epsilon f32)
    (local $at i32) (local $g v128) (local $mean v128) (local $square v128)
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $at) (local.get $bytes)))
      ;; g = gradient · scale
      (local.set $g (f32x4.mul
        (v128.load (i32.add (local.get $gradient) (local.get $at))) (f32x4.splat (local.get $scale))))
      ;; m += (g − m) (1 − β₁)
      (local.set $mean (v128.load (i32.add (local.get $m) (local.get $at))))
      (local.set $mean (f32x4.add (local.get $mean)
        (f32x4.mul (f32x4.sub (local.get $g) (local.get $mean)) (f32x4.splat (local.get $oneMinusBeta1)))))
      (v128.store (i32.add (local.get $m) (local.get $at)) (local.get $mean))
      ;; v = v β₂ + g² (1 − β₂)
      (local.set $square (f32x4.add
        (f32x4.mul (v128.load (i32.add (local.get $v) (local.get $at))) (f32x4.splat (local.get $beta2)))
        (f32x4.mul (f32x4.mul (local.get $g) (local.get $g)) (f32x4.splat (local.get $oneMinusBeta2)))))
      (v128.store (i32.add (local.get $v) (local.get $at)) (local.get $square))
      ;; weight = weight · keep − rate · m / (√v / correction + ε)
      (v128.store (i32.add (local.get $weight) (local.get $at)) (f32x4.sub
        (f32x4.mul (v128.load (i32.add (local.get $weight) (local.get $at))) (f32x4.splat (local.get $keep)))
        (f32x4.mul
          (f32x4.div (local.get $mean) (f32x4.add
            (f32x4.div (f32x4.sqrt (local.get $square)) (f32x4.splat (local.get $correction)))
            (f32x4.splat (local.get $epsilon))))
          (f32x4.splat (local.get $rate)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br $next)))))
