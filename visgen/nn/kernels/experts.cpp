// Experts on a CPU: rows of one expert at a time from gather to output, without leaving the cache.
//
// The vectors run along rows, not along features: a tile of rows is kept transposed ([feature][row]), each weight is
// broadcast from where it lies, and the result of one product is again transposed, as the next one wants it. So no
// weight is ever copied or rearranged, which is what costs a general matrix product most when an expert has few rows.
// An output element is one chain of multiply-adds over the inner index: it does not depend on the other rows of a batch.
//
// float32 anywhere; bfloat16 where the processor multiplies it (AVX512-BF16), in pairs along the inner index.
// Widths are multiples of 4; the caller checks. Threads are those of torch.

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int L = 16;   // lanes of a vector
constexpr int NR = 12;  // outputs of a tile: 2 * 12 sums, 2 inputs and 1 weight fill the 32 registers
#else
constexpr int L = 8;
constexpr int NR = 4;
#endif
constexpr int64_t PIECE = 4 * 2 * L;  // rows that a thread takes at once; their tiles stay in the second-level cache

typedef float vec __attribute__((vector_size(L * 4)));
typedef int32_t ivec __attribute__((vector_size(L * 4)));
typedef float loose __attribute__((vector_size(L * 4), aligned(4), may_alias));
typedef float word __attribute__((may_alias));  // 32 bits: one float, or a pair of bfloat16

inline vec load(const word* p) { return *reinterpret_cast<const loose*>(p); }
inline void store(word* p, vec v) { *reinterpret_cast<loose*>(p) = v; }
inline vec splat(float v) {
#if defined(__AVX512F__)
  return vec{v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v};
#else
  return vec{v, v, v, v, v, v, v, v};
#endif
}

struct Single {
  using T = float;
  static constexpr int P = 1;  // numbers in a word
  static inline vec multiply_add(vec a, vec b, vec sum) { return a * b + sum; }
  static inline float number(T v) { return v; }
  static inline T rounded(float v) { return v; }
  static inline vec get(const T* p) { return load(p); }
  static inline void put(T* p, vec v) { store(p, v); }
  // Write outputs n.. of a tile as inputs of the next product.
  template <int N, int MV>
  static inline void pack(word* p, const vec (&v)[N][MV]) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < MV; j++) store(p + (i * MV + j) * L, v[i][j]);
  }
};

#if defined(__AVX512BF16__)
struct Half {
  using T = uint16_t;
  static constexpr int P = 2;
  static inline vec multiply_add(vec a, vec b, vec sum) {
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  }
  static inline float number(T v) {
    uint32_t bits = uint32_t(v) << 16;
    float f;
    std::memcpy(&f, &bits, 4);
    return f;
  }
  static inline __m256i halves(vec v) { return (__m256i)_mm512_cvtneps_pbh((__m512)v); }
  static inline T rounded(float v) { return (T)_mm256_extract_epi16(halves(splat(v)), 0); }
  static inline vec get(const T* p) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16);
  }
  static inline void put(T* p, vec v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves(v)); }
  template <int N, int MV>
  static inline void pack(word* p, const vec (&v)[N][MV]) {
    for (int i = 0; i < N; i += 2)
      for (int j = 0; j < MV; j++) {
        __m512i low = _mm512_cvtepu16_epi32(halves(v[i][j]));
        __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves(v[i + 1][j])), 16);
        store(p + (i / 2 * MV + j) * L, (vec)_mm512_or_si512(low, high));
      }
  }
};
#endif

inline vec exp_of_negative(vec x) {
  // 2^n * e^r with |r| <= log(2) / 2 and the series of e^r to r^7; below -87 the result is 0
  const vec least = splat(-87.0f);
  const ivec tiny = x < least;
  x = (vec)(((ivec)x & ~tiny) | ((ivec)least & tiny));
  const vec scaled = x * 1.44269504f - 0.5f;
  const ivec n = __builtin_convertvector(scaled, ivec);  // towards zero, and scaled is negative: rounds x / log 2
  const vec whole = __builtin_convertvector(n, vec);
  const vec r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;  // log 2 in two parts
  vec s = splat(1.0f / 5040);
  s = s * r + 1.0f / 720;
  s = s * r + 1.0f / 120;
  s = s * r + 1.0f / 24;
  s = s * r + 1.0f / 6;
  s = s * r + 0.5f;
  s = s * r + 1.0f;
  s = s * r + 1.0f;
  const vec power = (vec)((n + 127) << 23);
  return (vec)((ivec)(s * power) & ~tiny);
}

// x * Phi(x) = max(x, 0) - |x| / 2 * exp(-x^2 / 2) * f(|x|), where f(a) = erfcx(a / sqrt 2) is near a polynomial in
// 1 / (1 + 0.23 a). The eight coefficients are a minimax fit on [0, 12] made for this file: relative error 1e-7 exactly,
// 4e-7 in float32. No term cancels another, so small outputs keep their digits.
inline vec gelu(vec x) {
  const ivec sign = (ivec)x & INT32_MIN;
  const vec a = (vec)((ivec)x ^ sign);
  const vec t = splat(1.0f) / (a * 0.23f + 1.0f);
  vec f = splat(-0.149597526f);
  f = f * t + 0.545742869f;
  f = f * t - 0.484699339f;
  f = f * t + 0.521753013f;
  f = f * t - 0.009837396f;
  f = f * t + 0.215003386f;
  f = f * t + 0.177782312f;
  f = f * t + 0.183852777f;
  const vec tail = a * 0.5f * exp_of_negative(x * x * -0.5f) * (f * t);
  const vec positive = (vec)((ivec)x & ~(sign >> 31));
  return positive - tail;
}

// Transpose L vectors of L words in place: interleaving row i with row i + L / 2 log2(L) times.
inline void transpose(vec (&r)[L]) {
  vec next[L];
#pragma GCC unroll 4
  for (int stage = 1; stage < L; stage *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < L / 2; i++) {
#if defined(__AVX512F__)
      next[2 * i] = __builtin_shufflevector(r[i], r[i + L / 2], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] =
          __builtin_shufflevector(r[i], r[i + L / 2], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#else
      next[2 * i] = __builtin_shufflevector(r[i], r[i + L / 2], 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(r[i], r[i + L / 2], 4, 12, 5, 13, 6, 14, 7, 15);
#endif
    }
#pragma GCC unroll 16
    for (int i = 0; i < L; i++) r[i] = next[i];
  }
}

struct Tile {
  int64_t first;  // row within the piece
  int rows;       // 1..2 L
  int vectors() const { return rows > L ? 2 : 1; }
};

// Copy rows into a tile [words][vectors * L]; places past the last row repeat it, and their results are not read.
template <class T>
void gather_tile(const T* const* row, const Tile& tile, int64_t words, word* to) {
  const int mv = tile.vectors();
  for (int half = 0; half < mv; half++) {
    const word* from[L];
    for (int i = 0; i < L; i++) from[i] = reinterpret_cast<const word*>(row[tile.first + std::min(half * L + i, tile.rows - 1)]);
    int64_t k = 0;
    for (; k + L <= words; k += L) {
      vec r[L];
      for (int i = 0; i < L; i++) r[i] = load(from[i] + k);
      transpose(r);
      for (int i = 0; i < L; i++) store(to + ((k + i) * mv + half) * L, r[i]);
    }
    for (; k < words; k++)
      for (int i = 0; i < L; i++) to[(k * mv + half) * L + i] = from[i][k];
  }
}

// Write a float tile [width][vectors * L] as rows of `width` numbers.
template <class E>
void scatter_tile(const word* tile_values, const Tile& tile, int64_t width, typename E::T* to) {
  const int mv = tile.vectors();
  for (int half = 0; half < mv; half++) {
    const int rows = std::min(L, tile.rows - half * L);
    int64_t n = 0;
    for (; n + L <= width; n += L) {
      vec r[L];
      for (int i = 0; i < L; i++) r[i] = load(tile_values + ((n + i) * mv + half) * L);
      transpose(r);
      for (int i = 0; i < rows; i++) E::put(to + (half * L + i) * width + n, r[i]);
    }
    for (; n < width; n++)
      for (int i = 0; i < rows; i++) to[(half * L + i) * width + n] = E::rounded(tile_values[(n * mv + half) * L + i]);
  }
}

// Not inlined: among the code of its callers the sums would not all stay in registers.
template <class E, int MV, int N>
__attribute__((noinline)) void sums(const word* a, const word* w, int64_t words, vec (&result)[N][MV]) {
  vec sum[N][MV];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < MV; j++) sum[i][j] = vec{};
  for (int64_t k = 0; k < words; k++, a += MV * L) {
    vec v[MV];
#pragma GCC unroll 2
    for (int j = 0; j < MV; j++) v[j] = load(a + j * L);
#pragma GCC unroll 12
    for (int i = 0; i < N; i++) {
      const vec b = splat(w[i * words + k]);
#pragma GCC unroll 2
      for (int j = 0; j < MV; j++) sum[i][j] = E::multiply_add(v[j], b, sum[i][j]);
    }
  }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < MV; j++) result[i][j] = sum[i][j];
}

template <class E, int MV, int N, class Finish>
inline void block(const word* a, const word* w, const typename E::T* bias, int64_t words, int64_t n, Finish& finish) {
  vec sum[N][MV];
  sums<E, MV, N>(a, w + n * words, words, sum);
  for (int i = 0; i < N; i++) {
    const float shift = bias ? E::number(bias[n + i]) : 0.0f;
    for (int j = 0; j < MV; j++) sum[i][j] += shift;
  }
  finish(n, sum);
}

// W (outputs, words) times each tile; `finish(tile, n, sums)` takes NR or 4 outputs of it at a time.
template <class E, class Finish>
void product(const std::vector<Tile>& tiles, const word* a, int64_t stride, const word* w, const typename E::T* bias,
             int64_t outputs, int64_t words, Finish finish) {
  for (int64_t n = 0; n < outputs;) {
    const bool is_wide = outputs - n >= NR;
    for (size_t t = 0; t < tiles.size(); t++) {
      const word* from = a + t * stride;
      auto done = [&](int64_t at, auto& sum) { finish(t, at, sum); };
      if (tiles[t].vectors() == 2) {
        is_wide ? block<E, 2, NR>(from, w, bias, words, n, done) : block<E, 2, 4>(from, w, bias, words, n, done);
      } else {
        is_wide ? block<E, 1, NR>(from, w, bias, words, n, done) : block<E, 1, 4>(from, w, bias, words, n, done);
      }
    }
    n += is_wide ? NR : 4;
  }
}

template <int N, int MV>
inline void put_tile(word* p, const vec (&v)[N][MV]) {
  Single::pack<N, MV>(p, v);
}

struct Piece {
  int64_t expert, first, rows;
};

// Cut the rows of each expert into pieces of nearly equal size.
std::vector<Piece> cut(const int64_t* counts, int64_t experts) {
  std::vector<Piece> pieces;
  int64_t first = 0;
  for (int64_t e = 0; e < experts; e++) {
    const int64_t parts = (counts[e] + PIECE - 1) / PIECE;
    for (int64_t i = 0, left = counts[e]; i < parts; i++) {
      const int64_t rows = std::min(left, ((left + parts - i - 1) / (parts - i) + L - 1) / L * L);
      if (rows) pieces.push_back({e, first, rows});
      first += rows;
      left -= rows;
    }
  }
  return pieces;
}

std::vector<Tile> tiles_of(int64_t rows) {
  std::vector<Tile> tiles;
  for (int64_t r = 0; r < rows; r += 2 * L) tiles.push_back({r, int(std::min<int64_t>(2 * L, rows - r))});
  return tiles;
}

// Memory of a thread, kept between calls.
word* scratch(int which, int64_t words) {
  struct Buffer {
    void* data = nullptr;
    int64_t size = 0;
    ~Buffer() { std::free(data); }
  };
  static thread_local Buffer buffers[3];
  Buffer& b = buffers[which];
  if (b.size < words) {
    std::free(b.data);
    b.size = (words + 1023) / 1024 * 1024;
    b.data = std::aligned_alloc(64, b.size * sizeof(float));
    if (!b.data) std::abort();
  }
  return static_cast<word*>(b.data);
}

// Run `work(i)` for 0 <= i < count on torch's threads; whoever is free takes the next one.
template <class Work>
void share(int64_t count, Work work) {
  std::atomic<int64_t> next{0};
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(i);
  });
}

template <class E>
void grouped_linear(const typename E::T* x, const typename E::T* w, const typename E::T* bias, const int64_t* counts,
                    typename E::T* y, int64_t experts, int64_t inputs, int64_t outputs) {
  const std::vector<Piece> pieces = cut(counts, experts);
  const int64_t words = inputs / E::P, tile_size = 2 * L;
  share(pieces.size(), [&](int64_t i) {
    const Piece& piece = pieces[i];
    const std::vector<Tile> tiles = tiles_of(piece.rows);
    std::vector<const typename E::T*> row(piece.rows);
    for (int64_t r = 0; r < piece.rows; r++) row[r] = x + (piece.first + r) * inputs;
    word* in = scratch(0, tiles.size() * tile_size * words);
    word* out = scratch(1, tiles.size() * tile_size * outputs);
    for (size_t t = 0; t < tiles.size(); t++) gather_tile(row.data(), tiles[t], words, in + t * tile_size * words);
    const word* matrix = reinterpret_cast<const word*>(w + piece.expert * outputs * inputs);
    product<E>(tiles, in, tile_size * words, matrix, bias ? bias + piece.expert * outputs : nullptr, outputs, words,
               [&](size_t t, int64_t n, auto& sum) {
                 put_tile(out + t * tile_size * outputs + n * tiles[t].vectors() * L, sum);
               });
    for (size_t t = 0; t < tiles.size(); t++)
      scatter_tile<E>(out + t * tile_size * outputs, tiles[t], outputs, y + (piece.first + tiles[t].first) * outputs);
  });
}

template <class E>
void expert_mlp(const typename E::T* x, const typename E::T* gates, const typename E::T* w1, const typename E::T* b1,
                const typename E::T* w2, const typename E::T* b2, const int64_t* tokens, const int64_t* inverse,
                const int64_t* counts, typename E::T* inner, typename E::T* y, typename E::T* out, int64_t rows,
                int64_t k, int64_t experts, int64_t width, int64_t hidden) {
  using T = typename E::T;
  const std::vector<Piece> pieces = cut(counts, experts);
  const int64_t tile_size = 2 * L, in_words = width / E::P, hidden_words = hidden / E::P;
  share(pieces.size(), [&](int64_t i) {
    const Piece& piece = pieces[i];
    const std::vector<Tile> tiles = tiles_of(piece.rows);
    const size_t count = tiles.size();
    std::vector<const typename E::T*> row(piece.rows);
    for (int64_t r = 0; r < piece.rows; r++) row[r] = x + tokens[piece.first + r] * width;
    // inputs and, once they are used, outputs share their memory
    word* in = scratch(0, count * tile_size * width);
    word* middle = scratch(1, count * tile_size * hidden_words);
    word* before = inner ? scratch(2, count * tile_size * hidden) : nullptr;
    for (size_t t = 0; t < count; t++) gather_tile(row.data(), tiles[t], in_words, in + t * tile_size * width);
    const word* up = reinterpret_cast<const word*>(w1 + piece.expert * hidden * width);
    product<E>(tiles, in, tile_size * width, up, b1 + piece.expert * hidden, hidden, in_words,
               [&](size_t t, int64_t n, auto& sum) {
                 const int step = tiles[t].vectors() * L;
                 if (before) put_tile(before + t * tile_size * hidden + n * step, sum);
                 for (auto& line : sum)
                   for (auto& v : line) v = gelu(v);
                 E::pack(middle + t * tile_size * hidden_words + n / E::P * step, sum);
               });
    const word* down = reinterpret_cast<const word*>(w2 + piece.expert * width * hidden);
    product<E>(tiles, middle, tile_size * hidden_words, down, b2 + piece.expert * width, width, hidden_words,
               [&](size_t t, int64_t n, auto& sum) {
                 put_tile(in + t * tile_size * width + n * tiles[t].vectors() * L, sum);
               });
    for (size_t t = 0; t < count; t++) {
      const int64_t at = piece.first + tiles[t].first;
      scatter_tile<E>(in + t * tile_size * width, tiles[t], width, y + at * width);
      if (before) scatter_tile<E>(before + t * tile_size * hidden, tiles[t], hidden, inner + at * hidden);
    }
  });
  // slots of a row are summed in their order, whatever the threads do
  constexpr int64_t ROWS = 64;
  share((rows + ROWS - 1) / ROWS, [&](int64_t i) {
    for (int64_t s = i * ROWS; s < std::min(rows, (i + 1) * ROWS); s++) {
      const T* gate = gates + s * k;
      const int64_t* from = inverse + s * k;
      int64_t n = 0;
      for (; n + L <= width; n += L) {
        vec sum{};
        for (int64_t j = 0; j < k; j++) sum += E::number(gate[j]) * E::get(y + from[j] * width + n);
        E::put(out + s * width + n, sum);
      }
      for (; n < width; n++) {
        float sum = 0;
        for (int64_t j = 0; j < k; j++) sum += E::number(gate[j]) * E::number(y[from[j] * width + n]);
        out[s * width + n] = E::rounded(sum);
      }
    }
  });
}

}  // namespace

extern "C" {

// Bit 0: float32. Bit 1: bfloat16.
int visgen_kernel_types() {
#if defined(__AVX512BF16__)
  return 3;
#else
  return 1;
#endif
}

void visgen_grouped_linear(int is_half, const void* x, const void* w, const void* bias, const int64_t* counts, void* y,
                           int64_t experts, int64_t inputs, int64_t outputs) {
#if defined(__AVX512BF16__)
  if (is_half) {
    using T = Half::T;
    grouped_linear<Half>((const T*)x, (const T*)w, (const T*)bias, counts, (T*)y, experts, inputs, outputs);
    return;
  }
#endif
  using T = float;
  grouped_linear<Single>((const T*)x, (const T*)w, (const T*)bias, counts, (T*)y, experts, inputs, outputs);
}

void visgen_expert_mlp(int is_half, const void* x, const void* gates, const void* w1, const void* b1, const void* w2,
                       const void* b2, const int64_t* tokens, const int64_t* inverse, const int64_t* counts,
                       void* inner, void* y, void* out, int64_t rows, int64_t k, int64_t experts, int64_t width,
                       int64_t hidden) {
#if defined(__AVX512BF16__)
  if (is_half) {
    using T = Half::T;
    expert_mlp<Half>((const T*)x, (const T*)gates, (const T*)w1, (const T*)b1, (const T*)w2, (const T*)b2, tokens,
                     inverse, counts, (T*)inner, (T*)y, (T*)out, rows, k, experts, width, hidden);
    return;
  }
#endif
  using T = float;
  expert_mlp<Single>((const T*)x, (const T*)gates, (const T*)w1, (const T*)b1, (const T*)w2, (const T*)b2, tokens,
                     inverse, counts, (T*)inner, (T*)y, (T*)out, rows, k, experts, width, hidden);
}
}
