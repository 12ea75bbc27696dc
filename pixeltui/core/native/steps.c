/* Exact sampling, a row of pixels a call: the steps of a Program for every image, on as many threads as are asked for.

   Images do not depend on one another, so that each thread takes some of them through the whole row and none waits for
   another. No Python, no torch, no state beside the caller's memory. */

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "steps.h"

#define BLOCK 96 /* pixels of a product at a time: what they take and give stays in the cache */
#define NONE -1e30f /* log of the weight of a mixture that is only there to fill a vector */
#define MIXTURES 16
#define MOST_MIXTURES 256
#define MOST_LEVELS 256
#define MOST_PIXELS 4096
#define MOST_THREADS 64

/* The pixels of a range: column by column, in each the images of the first copy, then of the second. */
typedef struct {
    const int32_t *columns, *copies_images;
    int64_t count, column, first, images;
} Pixels;

typedef struct {
    int64_t size;
    float *log_weights, *minus_means, *inverse, *log_widths, *minus_coefficients;
} State;

static inline float *at(Place place, const Pixels *all, int64_t pixel) {
    return place.at + (all->column + all->columns[pixel]) * place.column + all->copies_images[pixel] * place.image;
}

static int64_t padded(int64_t mixtures) { return (mixtures + MIXTURES - 1) / MIXTURES * MIXTURES; }

static void spread(float *to, const float *from, int64_t count, int64_t size) {
    for (int64_t i = 0; i < size; i++) to[i] = i < count ? from[i] : 0;
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name##_, LANES)

#define LANES 4
#define ROWS 6
#include "kernels.inc"
#undef LANES
#undef ROWS

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define ROWS 6
#include "kernels.inc"
#undef LANES
#undef ROWS
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define LANES 16
#define ROWS 12
#include "kernels.inc"
#undef LANES
#undef ROWS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

typedef void (*Run)(const Program *, const Step *, int64_t, const Pixels *);

static Run run_of(int64_t lanes) {
#if defined(__x86_64__)
    if (lanes == 16 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return steps_16;
    if (lanes == 8 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return steps_8;
#endif
    return lanes == 4 ? steps_4 : 0;
}

typedef struct {
    const Program *program;
    const uint8_t *wanted;
    Run run;
    int64_t first, images;
    int failed;
} Part;

static void *run_part(void *argument) {
    Part *part = argument;
    const Program *program = part->program;
    int64_t each = program->copies * part->images, count = program->width * each;
    int32_t *columns = malloc(2 * (size_t)count * sizeof *columns);
    if (!columns) {
        part->failed = 1;
        return 0;
    }
    for (int64_t p = 0; p < count; p++) {
        int64_t copy = p % each / part->images;
        columns[p] = (int32_t)(p / each);
        columns[count + p] = (int32_t)(copy * program->images + part->first + p % part->images);
    }
    Pixels all = {columns, columns + count, count, 0, part->first, part->images};
    part->run(program, program->row, program->row_steps, &all);
    all.count = each;
    for (int64_t column = 0; column < program->width; column++) {
        all.column = column;
        part->run(program, program->trunk, program->trunk_steps, &all);
        if (part->wanted[column]) part->run(program, program->head, program->head_steps, &all);
        for (int64_t p = 0; p < each; p++) {
            float *current = at(program->current, &all, p);
            const int64_t *levels = program->drawn + column * program->channels * program->images + part->first;
            for (int64_t channel = 0; channel < program->channels; channel++)
                current[channel] = program->scaled[levels[channel * program->images + p % part->images]];
        }
    }
    free(columns);
    return 0;
}

int64_t pixeltui_format(void) { return PIXELTUI_FORMAT; }

/* Whether this machine has vectors of so many floats. */
int64_t pixeltui_supports(int64_t lanes) { return run_of(lanes) != 0; }

/* Draws a row. wanted [width]: the columns where something is to be drawn. 0, or 1: out of memory. */
int64_t pixeltui_row(const Program *program, const uint8_t *wanted, int64_t lanes, int64_t threads) {
    Part parts[MOST_THREADS];
    pthread_t started[MOST_THREADS];
    int running[MOST_THREADS] = {0};
    if (threads > program->images) threads = program->images;
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    for (int64_t t = 0, first = 0; t < threads; t++) {
        int64_t images = (program->images - first) / (threads - t);
        parts[t] = (Part){program, wanted, run_of(lanes), first, images, 0};
        first += images;
        if (t + 1 < threads) running[t] = pthread_create(started + t, 0, run_part, parts + t) == 0;
        if (!running[t]) run_part(parts + t);
    }
    int64_t failed = 0;
    for (int64_t t = 0; t < threads; t++) {
        if (running[t]) pthread_join(started[t], 0);
        failed |= parts[t].failed;
    }
    return failed;
}
