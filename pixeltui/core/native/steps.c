/* Exact sampling, some pixels a call: the steps of a Program for every image, on as many threads as are asked for.

   Images do not depend on one another, so that each thread takes some of them through the whole call and none waits for
   another. Of few images threads share what can be done at once, pixel by pixel, which changes no sum. No Python, no
   torch, no state from call to call but in the caller's memory. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* for the processors of threads */
#endif
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "steps.h"

#define BLOCK 96 /* pixels of a product at a time: what they take and give stays in the cache */
#define NONE -1e30f /* log of the weight of a mixture that is only there to fill a vector */
#define MIXTURES 16
#define MOST_MIXTURES 256
#define MOST_LEVELS 256
#define MOST_PIXELS 4096
#define NOBODY 1000000
#define SPINS 40000 /* looks, in about a chunk's time, at what another thread has begun before others may run */

/* The pixels of a range: in each column, or of a wave in all of them, those of the first copy, then of the second. */
typedef struct {
    const int32_t *columns;       /* from `column` on */
    const int32_t *copies_images; /* [MOST_UP + 1 or 1][stride]: in the pixel's track, then in those above it */
    int64_t count, column, images, stride; /* images: pixels of a copy */
    const int32_t *pixels;        /* in what is drawn; null: the columns */
} Pixels;

typedef struct {
    int64_t size;
    float *log_weights, *minus_means, *inverse, *log_widths, *minus_coefficients;
} State;

static inline float *at(Place place, const Pixels *all, int64_t pixel) {
    return place.at + (all->column + all->columns[pixel]) * place.column +
           all->copies_images[place.up * all->stride + pixel] * place.image;
}

/* Where the levels of a pixel of the first copy are, those of its first channel. */
static inline int64_t drawn_at(const Program *program, const Pixels *all, int64_t pixel) {
    int64_t number = all->pixels ? all->pixels[pixel] : all->column + all->columns[pixel];
    return number * program->channels * program->images + all->copies_images[pixel] % program->images;
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

/* What threads draw: a row, or steps of a wave. They take what is next from counters: nobody waits for what has not
   been begun, nor for a thread that has not: it finds all taken, and looks at nothing but this, which goes with the last
   of them. */
typedef struct Work {
    const Program *program;
    const uint8_t *wanted;
    Run run;
    int64_t lanes;
    void (*chunk)(struct Work *, int64_t meeting, int64_t chunk);
    int64_t groups; /* of images, each of which one thread takes through a row by itself */
    int64_t chunks, meetings; /* what threads share: chunks of pixels, between two meetings */
    Pixels all;               /* those of a row in chunks */
    int64_t first, end, from, to; /* rows and steps of a wave */
    int64_t phases; /* of a step of it, at which threads meet that share it; 0: they share the images */
    _Atomic int64_t taken, done, next_group, groups_done, helped, holders;
    atomic_int failed;
#if defined(__GLIBC__)
    cpu_set_t processors; /* that this process may use */
#endif
} Work;

/* The pixels of a row of some images; columns null: out of memory. */
static Pixels pixels_of(const Program *program, int64_t first, int64_t images) {
    int64_t each = program->copies * images, count = program->width * each;
    int32_t *columns = malloc(2 * (size_t)count * sizeof *columns);
    for (int64_t p = 0; columns && p < count; p++) {
        int64_t copy = p % each / images;
        columns[p] = (int32_t)(p / each);
        columns[count + p] = (int32_t)(copy * program->images + first + p % images);
    }
    return (Pixels){columns, columns + count, count, 0, images, 0, 0};
}

/* The row's steps between a meeting and the next, for a chunk of the pixels. */
static void row_chunk(Work *work, int64_t meeting, int64_t chunk) {
    const Program *program = work->program;
    const Step *first = program->row, *end = program->row + program->row_steps;
    for (; meeting; first++) meeting -= first->kind == MEET;
    const Step *last = first;
    while (last < end && last->kind != MEET) last++;
    Pixels part = work->all;
    int64_t from = chunk * part.count / work->chunks, to = (chunk + 1) * part.count / work->chunks;
    part.columns += from;
    part.copies_images += from;
    part.count = to - from;
    work->run(program, first, last - first, &part);
}

static void let_go(Work *work) {
    if (atomic_fetch_sub(&work->holders, 1) > 1) return;
    free((void *)work->all.columns);
    free(work);
}

static int64_t microseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Looks for what another thread has begun: first at once, then letting others run, for that thread may need this
   processor. Returns the microseconds of the latter. */
static int64_t look_again(int64_t *looks) {
    if (++*looks <= SPINS) return 0;
    int64_t began = microseconds(CLOCK_MONOTONIC);
    sched_yield();
    return microseconds(CLOCK_MONOTONIC) - began;
}

/* Until what is shared is all done, whoever did it. Returns the microseconds in which this thread waited or did
   not run, and adds what it did to `did`. */
static int64_t share(Work *work, _Atomic int64_t *did) {
    int64_t total = work->chunks * (work->meetings + 1), looks = 0;
    int64_t lost = microseconds(CLOCK_THREAD_CPUTIME_ID) - microseconds(CLOCK_MONOTONIC);
    while (atomic_load(&work->done) < total) {
        int64_t next = atomic_load(&work->taken), meeting = next / work->chunks;
        if (next == total || atomic_load(&work->done) < meeting * work->chunks) {
            lost += look_again(&looks);
        } else if (atomic_compare_exchange_weak(&work->taken, &next, next + 1)) {
            work->chunk(work, meeting, next % work->chunks);
            atomic_fetch_add(did, 1);
            atomic_fetch_add(&work->done, 1);
            looks = 0;
        }
    }
    lost += microseconds(CLOCK_MONOTONIC) - microseconds(CLOCK_THREAD_CPUTIME_ID);
    return lost > 0 ? lost : 0; /* the clocks are not read at the same moment */
}

/* Writes the levels, scaled, to where the next pixels look for them. */
static void take(const Program *program, const Pixels *all) {
    for (int64_t p = 0; p < all->count; p++) {
        float *current = at(program->current, all, p);
        const int64_t *levels = program->drawn + drawn_at(program, all, p % all->images);
        for (int64_t channel = 0; channel < program->channels; channel++)
            current[channel] = program->scaled[levels[channel * program->images]];
    }
}

/* Takes the images of a group through the row's pixels, and first through the row's steps where nobody did so. */
static void run_group(Work *work, int64_t group) {
    const Program *program = work->program;
    int64_t first = group * program->images / work->groups, next = (group + 1) * program->images / work->groups;
    Pixels all = pixels_of(program, first, next - first);
    if (!all.columns) {
        work->failed = 1;
        return;
    }
    if (!work->chunks) work->run(program, program->row, program->row_steps, &all);
    all.count = program->copies * all.images;
    for (int64_t column = 0; column < program->width; column++) {
        all.column = column;
        work->run(program, program->trunk, program->trunk_steps, &all);
        if (work->wanted[column]) work->run(program, program->head, program->head_steps, &all);
        take(program, &all);
    }
    free((void *)all.columns);
}

/* Pixels of a wave that go through all steps together: what they take and give stays in the cache. */
typedef struct {
    int32_t columns[BLOCK], pixels[BLOCK], copies_images[MOST_UP + 1][BLOCK];
} Piece;

/* Those of the pixels from `first` to `end` of a step for which something is to be drawn, or all; a pixel is one of
   `images` images from `image` on, in one of the rows under way from `row` on. */
static Pixels piece_of(const Work *work, Piece *piece, int64_t step, int64_t row, int64_t image, int64_t images,
                       int64_t first, int64_t end, int wanted) {
    const Program *program = work->program;
    int64_t count = 0, each = 0;
    for (int64_t copy = 0; copy < program->copies; copy++) {
        for (int64_t unit = first; unit < end; unit++) {
            int64_t down = row + unit / images, column = step - program->lag * down, at = work->first + down;
            int64_t pixel = at * program->width + column;
            if (wanted && !work->wanted[pixel]) continue;
            piece->columns[count] = (int32_t)column;
            piece->pixels[count] = (int32_t)pixel;
            for (int64_t up = 0; up <= MOST_UP; up++) {
                int64_t track = (at + program->tracks * MOST_UP - up) % program->tracks;
                int64_t in_copy = track * program->images + image + unit % images;
                piece->copies_images[up][count] = (int32_t)(copy * program->tracks * program->images + in_copy);
            }
            count++;
        }
        if (!copy) each = count;
    }
    return (Pixels){piece->columns, piece->copies_images[0], count, 0, each, BLOCK, piece->pixels};
}

/* The part of some steps that makes a share of their outputs. */
static void run_outputs(Work *work, const Step *steps, int64_t count, int64_t chunk, const Pixels *all) {
    int64_t each = 2 * work->lanes, panels = (steps->outputs + each - 1) / each;
    int64_t from = chunk * panels / work->chunks * each, to = (chunk + 1) * panels / work->chunks * each;
    if (to > steps->outputs) to = steps->outputs;
    for (int64_t s = 0; s < count && from < to; s++) {
        Step part = steps[s];
        part.outputs = to - from;
        part.out.at += from;
        if (part.start.at) part.start.at += from;
        if (part.kind == LINEAR) part.weight += from * part.inputs;
        else part.in.at += from;
        work->run(work->program, &part, 1, all);
    }
}

/* What a phase of the trunk, and after the last one the head, does at a step of a wave, for a share of the step's
   pixels or of what is computed of them; images: so many from `image` on. */
static void run_phase(Work *work, int64_t step, int64_t phase, int64_t image, int64_t images, int64_t share,
                      int64_t shares) {
    const Program *program = work->program;
    const Step *first = program->trunk, *end = first + program->trunk_steps, *last;
    int by_outputs = 0;
    for (; phase > 0; first++)
        if (first->kind == MEET) phase--, by_outputs = (int)first->channel;
    for (last = phase < 0 ? end : first; last < end && last->kind != MEET;) last++;
    int64_t behind = step - program->width + 1, row = behind > 0 ? (behind + program->lag - 1) / program->lag : 0;
    int64_t rows = step / program->lag + 1;
    if (rows > work->end - work->first) rows = work->end - work->first;
    int64_t units = (rows - row) * images, from = share * units / shares, to = (share + 1) * units / shares;
    if (by_outputs) from = 0, to = units;
    Piece piece, few;
    for (int64_t next; from < to; from = next) {
        next = from + BLOCK / program->copies < to ? from + BLOCK / program->copies : to;
        Pixels all = piece_of(work, &piece, step, row, image, images, from, next, 0);
        if (by_outputs) run_outputs(work, first, last - first, share, &all);
        else work->run(program, first, last - first, &all);
        if (last < end) continue;
        Pixels wanted = piece_of(work, &few, step, row, image, images, from, next, 1);
        if (wanted.count) work->run(program, program->head, program->head_steps, &wanted);
        take(program, &all);
    }
}

#define ALL_PHASES -1

/* A share of a phase of a step, or all steps for a share of the images. */
static void wave_chunk(Work *work, int64_t meeting, int64_t chunk) {
    int64_t images = work->program->images;
    if (work->phases) {
        int64_t step = work->from + meeting / work->phases;
        run_phase(work, step, meeting % work->phases, 0, images, chunk, work->chunks);
        return;
    }
    int64_t first = chunk * images / work->chunks, next = (chunk + 1) * images / work->chunks;
    for (int64_t step = work->from; step < work->to; step++)
        run_phase(work, step, ALL_PHASES, first, next - first, 0, 1);
}

static void run_groups(Work *work) {
    for (int64_t group; (group = atomic_fetch_add(&work->next_group, 1)) < work->groups;) {
        run_group(work, group);
        atomic_fetch_add(&work->groups_done, 1);
    }
}

static void *help(void *argument) {
    Work *work = argument;
#if defined(__GLIBC__)
    pthread_setaffinity_np(pthread_self(), sizeof work->processors, &work->processors);
#endif
    if (work->chunks) share(work, &work->helped);
    run_groups(work);
    let_go(work);
    return 0;
}

#if defined(__GLIBC__)

/* Starts a thread, the `number`th from 1, on another processor than this one: a row would often be done before Linux
   moves it to one that has nothing to do. Once it runs it may go anywhere. */
static int start(pthread_t *thread, int64_t number, Work *work) {
    int here = sched_getcpu(), there = here;
    cpu_set_t one;
    pthread_attr_t how;
    if (here < 0 || sched_getaffinity(0, sizeof work->processors, &work->processors) || pthread_attr_init(&how))
        return pthread_create(thread, 0, help, work);
    for (int i = 1; i < CPU_SETSIZE && number; i++) {
        there = (here + i) % CPU_SETSIZE;
        number -= CPU_ISSET(there, &work->processors) != 0;
    }
    CPU_ZERO(&one);
    CPU_SET(there, &one);
    if (!number) pthread_attr_setaffinity_np(&how, sizeof one, &one);
    int failed = pthread_create(thread, &how, help, work);
    pthread_attr_destroy(&how);
    return failed;
}
#else
static int start(pthread_t *thread, int64_t number, Work *work) {
    (void)number;
    return pthread_create(thread, 0, help, work);
}
#endif

int64_t pixeltui_format(void) { return PIXELTUI_FORMAT; }

/* Whether this machine has vectors of so many floats. */
int64_t pixeltui_supports(int64_t lanes) { return run_of(lanes) != 0; }

static Work *work_of(const Program *program, const uint8_t *wanted, int64_t lanes) {
    Work *work = calloc(1, sizeof *work);
    if (!work) return 0;
    work->program = program;
    work->wanted = wanted;
    work->run = run_of(lanes);
    work->lanes = lanes;
    work->holders = 1;
    return work;
}

/* On so many threads, of which this is one. Returns the microseconds that this thread lost to others in what is shared,
   NOBODY where no other has come; -1: out of memory. */
static int64_t go(Work *work, int64_t threads) {
    for (int64_t number = 1; number < threads; number++) {
        pthread_t thread;
        atomic_fetch_add(&work->holders, 1);
        if (start(&thread, number, work)) {
            let_go(work);
            break;
        }
        pthread_detach(thread);
    }
    int64_t lost = 0, looks = 0;
    _Atomic int64_t did = 0;
    if (work->chunks) lost = share(work, &did);
    if (work->chunks && !work->helped) lost = NOBODY;
    run_groups(work);
    while (atomic_load(&work->groups_done) < work->groups) look_again(&looks);
    int failed = work->failed;
    let_go(work);
    return failed ? -1 : lost;
}

/* Draws a row. wanted [width]: the columns where something is to be drawn. groups: of images that a thread takes
   through the pixels; with more threads than groups they share the row's steps. Returns what `go` does. */
int64_t pixeltui_row(const Program *program, const uint8_t *wanted, int64_t lanes, int64_t threads, int64_t groups) {
    Work *work = work_of(program, wanted, lanes);
    if (!work) return -1;
    work->groups = groups;
    work->chunk = row_chunk;
    if (threads > groups) {
        work->all = pixels_of(program, 0, program->images);
        if (!work->all.columns) {
            free(work);
            return -1;
        }
        work->chunks = threads;
        for (int64_t s = 0; s < program->row_steps; s++) work->meetings += program->row[s].kind == MEET;
    }
    return go(work, threads);
}

/* Draws the pixels of rows `first` to `end` - 1 that a wave over them has at its steps `from` to `to` - 1. wanted
   [pixels]: those where something is to be drawn. groups: of images that a thread takes through the steps; with more
   threads than groups they share each step. Returns what `go` does. */
int64_t pixeltui_wave(const Program *program, const uint8_t *wanted, int64_t first, int64_t end, int64_t from,
                      int64_t to, int64_t lanes, int64_t threads, int64_t groups) {
    Work *work = work_of(program, wanted, lanes);
    if (!work) return -1;
    work->chunk = wave_chunk;
    work->first = first, work->end = end, work->from = from, work->to = to;
    work->chunks = threads > groups ? threads : groups;
    if (threads > groups) {
        work->phases = 1;
        for (int64_t s = 0; s < program->trunk_steps; s++) work->phases += program->trunk[s].kind == MEET;
        work->meetings = (to - from) * work->phases - 1;
    }
    return go(work, threads);
}
