/* Exact sampling, a row of pixels a call: the steps of a Program for every image, on as many threads as are asked for.

   Images do not depend on one another, so that each thread takes some of them through the whole row and none waits for
   another. Of few images threads share the row's steps, pixel by pixel, which changes no sum. No Python, no torch, no
   state from row to row but in the caller's memory. */

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

#include "steps.h"

#define BLOCK 96 /* pixels of a product at a time: what they take and give stays in the cache */
#define NONE -1e30f /* log of the weight of a mixture that is only there to fill a vector */
#define MIXTURES 16
#define MOST_MIXTURES 256
#define MOST_LEVELS 256
#define MOST_PIXELS 4096
#define NOBODY 1000000
#define SPINS 40000 /* looks, in about a chunk's time, at what another thread has begun before this one lets others run */

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

/* A row that threads draw. They take what is next from counters: nobody waits for what has not been begun, nor for a
   thread that has not: it finds all taken, and looks at nothing but this, which goes with the last of them. */
typedef struct {
    const Program *program;
    const uint8_t *wanted;
    Run run;
    int64_t groups; /* of images, each of which one thread takes through the row by itself */
    int64_t chunks, meetings; /* the row's steps where all threads share them: chunks of pixels, between two meetings */
    Pixels all;               /* those in chunks */
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
    return (Pixels){columns, columns + count, count, 0, first, images};
}

/* The row's steps between a meeting and the next, for a chunk of the pixels. */
static void run_chunk(Work *work, int64_t meeting, int64_t chunk) {
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

/* Until the row's steps are all done, whoever did them. Returns the microseconds in which this thread waited or did
   not run, and adds what it did to `did`. */
static int64_t share_row(Work *work, _Atomic int64_t *did) {
    int64_t total = work->chunks * (work->meetings + 1), looks = 0;
    int64_t lost = microseconds(CLOCK_THREAD_CPUTIME_ID) - microseconds(CLOCK_MONOTONIC);
    while (atomic_load(&work->done) < total) {
        int64_t next = atomic_load(&work->taken), meeting = next / work->chunks;
        if (next == total || atomic_load(&work->done) < meeting * work->chunks) {
            lost += look_again(&looks);
        } else if (atomic_compare_exchange_weak(&work->taken, &next, next + 1)) {
            run_chunk(work, meeting, next % work->chunks);
            atomic_fetch_add(did, 1);
            atomic_fetch_add(&work->done, 1);
            looks = 0;
        }
    }
    lost += microseconds(CLOCK_MONOTONIC) - microseconds(CLOCK_THREAD_CPUTIME_ID);
    return lost > 0 ? lost : 0; /* the clocks are not read at the same moment */
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
        for (int64_t p = 0; p < all.count; p++) {
            float *current = at(program->current, &all, p);
            const int64_t *levels = program->drawn + column * program->channels * program->images + all.first;
            for (int64_t channel = 0; channel < program->channels; channel++)
                current[channel] = program->scaled[levels[channel * program->images + p % all.images]];
        }
    }
    free((void *)all.columns);
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
    if (work->chunks) share_row(work, &work->helped);
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

/* Draws a row. wanted [width]: the columns where something is to be drawn. groups: of images that a thread takes
   through the pixels; with more threads than groups they share the row's steps. Microseconds that this thread lost
   there, NOBODY where no other has come; -1: out of memory. */
int64_t pixeltui_row(const Program *program, const uint8_t *wanted, int64_t lanes, int64_t threads, int64_t groups) {
    Work *work = calloc(1, sizeof *work);
    if (!work) return -1;
    work->program = program;
    work->wanted = wanted;
    work->run = run_of(lanes);
    work->groups = groups;
    work->holders = 1;
    if (threads > groups) {
        work->all = pixels_of(program, 0, program->images);
        if (!work->all.columns) {
            free(work);
            return -1;
        }
        work->chunks = threads;
        for (int64_t s = 0; s < program->row_steps; s++) work->meetings += program->row[s].kind == MEET;
    }
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
    if (work->chunks) lost = share_row(work, &did);
    if (work->chunks && !work->helped) lost = NOBODY;
    run_groups(work);
    while (atomic_load(&work->groups_done) < groups) look_again(&looks);
    int failed = work->failed;
    let_go(work);
    return failed ? -1 : lost;
}
