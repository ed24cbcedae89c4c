// Neural reciprocal unit (Mistry et al. 2021):  z = prod_i f_i,  f_i = sign(x_i) |x_i|^w_i T_i + 1 - T_i
//   training    T = tanh(1000 w)^2,  T' = dT/dw = 2000 tanh(1000 w) (1 - T)
//   evaluation  T = |w|,  T' = sign(w)
//   df_i/dw_i = sign(x_i) |x_i|^w_i (T_i ln|x_i| + T'_i) - T'_i,   df_i/dx_i = T_i w_i |x_i|^(w_i - 1)
// With separate signs  f_i = |x_i|^w_i T_i + 1 - T_i,  z = prod_i f_i prod_i sign(x_i)^round(w_i), where the product of
// the signs is a constant in backward and round takes halves to even.
// No epsilon; sign(0) = 0.  A factor is evaluated as power T + (1 - T), as the original does: at T = 1 it is the power,
// where (power T + 1) - T would round it to multiples of 2^-24 and lose small inputs.
//
// With Domain::normal, in training, every x_i is taken to be a normal number and |w_i| at most 1.
#pragma once
#include "cells/cell.h"

namespace mk::MK_ISA {

template <bool separate, Domain domain = Domain::any>
struct Nru : OneGroup {
  static constexpr int parameters(int n) { return n; }
  static constexpr int derived(int n) { return separate ? 5 * n : 3 * n; }  // w, T, T'; (-1)^r, 0^r of r = round(w)
  static constexpr int saved(int n) { return 4 * n; }  // factors, prefix products, (signed) powers, logarithms
  static constexpr int gradients(int n) { return n; }

  template <Mode mode, class V>
  static MK_INLINE void prepare(int n, CellOptions<Real<V>>, const V*, const V* p, V* d) {
    for (int i = 0; i < n; ++i) {
      d[i] = p[i];
      if constexpr (mode == Mode::training) {
        const V t = tanh(constant<V>(1000) * p[i]);
        d[n + i] = t * t;
        d[2 * n + i] = constant<V>(2000) * t * fma(-t, t, constant<V>(1));
      } else {
        d[n + i] = abs(p[i]);
        d[2 * n + i] = sign(p[i]);
      }
      if constexpr (separate) {
        const V one = constant<V>(1), half = constant<V>(0.5) * round_half_even(p[i]);
        d[3 * n + i] = select(half == round_half_even(half), one, -one);
        d[4 * n + i] = power_of_zero(half);
      }
    }
  }

  template <class V>
  static MK_INLINE V power_of_zero(V exponent) {
    const V zero = constant<V>(0), one = constant<V>(1);
    return select(exponent > zero, zero, select(exponent == zero, one, one / zero));
  }

  template <Mode mode, class V>
  static MK_INLINE V forward(int n, CellOptions<Real<V>>, const V* x, const V* d, V* s) {
    const V zero = constant<V>(0);
    V z = constant<V>(1);
    if constexpr (separate)
      for (int i = 0; i < n; ++i)
        // a NaN goes into the product as itself: the power below does not keep it
        z = z * select(x[i] < zero, d[3 * n + i],
                       select(x[i] == zero, d[4 * n + i], select(x[i] > zero, constant<V>(1), x[i])));
    for (int i = 0; i < n; ++i) {
      const V magnitude = abs(x[i]);
      constexpr bool normal = domain == Domain::normal && mode == Mode::training;
      const auto both = pow_log<normal>(magnitude, d[i]);
      V power = both.power;
      if constexpr (separate)
        power = normal ? power : select(x[i] == zero, power_of_zero(d[i]), power);
      else if constexpr (normal)
        power = with_sign_of(power, x[i]);
      else
        power = sign(x[i]) * power;
      s[i] = fma(power, d[n + i], constant<V>(1) - d[n + i]);
      s[n + i] = z;
      s[2 * n + i] = power;
      s[3 * n + i] = both.logarithm;
      z = z * s[i];
    }
    return z;
  }

  template <bool Dx, class V>
  static MK_INLINE void backward(int n, CellOptions<Real<V>>, const V* x, const V* d, const V* s, V dz, V* g, V* dx) {
    V suffix = dz;
    for (int i = n - 1; i >= 0; --i) {
      const V others = suffix * s[n + i], power = s[2 * n + i];
      const V slope = fma(power, d[2 * n + i], -d[2 * n + i]);
      // at x = 0 the power is 0 and its product with ln 0 is taken as 0, as sign(0) = 0 has it
      V moving = power * (d[n + i] * s[3 * n + i]);
      if constexpr (domain == Domain::any) moving = select(power == constant<V>(0), constant<V>(0), moving);
      if constexpr (separate && domain == Domain::any)
        moving = select(d[n + i] == constant<V>(0), constant<V>(0), moving);
      g[i] = fma(others, slope + moving, g[i]);
      if constexpr (Dx) {
        const V steep = input_slope(others, x[i], d[i], d[n + i], power, s[3 * n + i]);
        auto flat = x[i] == constant<V>(0);
        // |x|^0 is constant, also where another factor of the product is not finite
        if constexpr (domain == Domain::any) flat = flat | (d[i] == constant<V>(0));
        dx[i] = select(flat, constant<V>(0), steep);
      }
      suffix = suffix * s[i];
    }
  }

  // others T w |x|^(w - 1), w and T of the gate; `power` is |x|^w, signed as in forward.  By the quotient power / x
  // where its parts are in the range of normal numbers; else by what is.
  template <class V>
  static MK_INLINE V input_slope(V others, V x, V w, V gate, V power, V logarithm) {
    const V first = others * gate * w, usual = first * (power / x);
    if constexpr (domain == Domain::normal) return usual;
    const V one = constant<V>(1), magnitude = abs(x);
    V grown = select(is_finite(magnitude), exp((w - one) * logarithm), power_of_zero(one - w));
    if constexpr (separate) grown = grown * sign(x);
    const V by_power = w * power / x, slope = select(normal(power), by_power, w * grown);
    const V rare = select(is_finite(slope), others * gate * slope, first * power / x);
    return select(normal(first) & normal(power) & normal(power / x), usual, rare);
  }
  template <class V>
  static MK_INLINE auto normal(V v) {
    constexpr double smallest = is_float<V> ? 0x1p-126 : 0x1p-1022;
    return (abs(v) >= constant<V>(smallest)) & is_finite(v);
  }

  template <class V>
  static MK_INLINE void finish(int n, const V*, const V*, const V* g, V* dp) {
    for (int i = 0; i < n; ++i) dp[i] = g[i];
  }
};

}  // namespace mk::MK_ISA
