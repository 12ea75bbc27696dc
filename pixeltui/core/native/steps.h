/* What pixeltui/core/native/program.py hands over. The same layouts stand in library.py; FORMAT changes with them. */

#ifndef PIXELTUI_STEPS_H
#define PIXELTUI_STEPS_H

#include <stdint.h>

#define PIXELTUI_FORMAT 6
#define MOST_UP 8 /* tracks */

/* Features of every image at every column: a pointer and strides in floats; up: so many tracks above the pixel's. */
typedef struct {
    float *at;
    int64_t column, image, up;
} Place;

typedef enum {
    LINEAR,        /* out = start + in W; start null: 0 */
    RMS,           /* out = in / sqrt(|in|^2 + number^2) */
    LAYER,         /* out = (in - mean) / sqrt(variance + number) */
    SPREAD,        /* out = start + sum of in[column + t] times row t of weight [inputs, outputs], feature by feature */
    AFFINE,        /* out = in weight + bias; either may be null */
    TANH_GATE,     /* out = tanh(first half of in) sigmoid(second half) */
    SILU_GATE,     /* out = first half of in times b sigmoid(b), b the second half */
    SILU,          /* out = in sigmoid(in) */
    RELU,
    ATTEND,        /* in: query, key, value by head; key and value go into the cache, weight; out: of all keys so far */
    MIXTURE_BEGIN, /* in: parameters by kind; out: Mixture state */
    MIXTURE_DRAW,  /* in: state; draws `channel` */
    MIXTURE_LOGS,  /* in: state; out: log-probabilities of the levels of `channel` */
    MIXTURE_SEEN,  /* in: state, moved on by the level of `channel` */
    SOFTMAX_DRAW,  /* in: logits; draws `channel` */
    LOG_SOFTMAX,   /* out = in - log sum exp in */
    LOGS_DRAW,     /* in: log-probabilities; draws `channel` by guidance, temperature and top_p */
    TABLE_ADD,     /* out += row of weight, a table [levels, outputs], of the level of `channel` */
    MEET           /* threads that share what is before and behind it wait for one another: of a row, what follows reads
                      what steps before have made of other pixels; of a wave, what is behind it is shared by outputs
                      where `channel` is 1, and before it, or behind it, was shared otherwise */
} Kind;

typedef struct {
    int64_t kind;
    Place in, out, start;
    const float *weight, *bias;
    int64_t inputs, outputs, channel; /* ATTEND: pixels of an image, features, heads */
    const int64_t *first;             /* ATTEND: the pixel at which the row begins */
    double number;
} Step;

/* A mixture of logistics; see LogisticMixturePixel. */
typedef struct {
    int64_t mixtures, in_order;
    float sharpest, widest; /* largest and smallest inverse scale */
} Mixture;

typedef struct {
    const Step *row, *trunk, *head;
    int64_t row_steps, trunk_steps, head_steps;
    int64_t width, images, copies, channels, levels;
    int64_t tracks, lag;  /* of a wave: a row each, so many columns behind the one above; of a row 1, 0 */
    const float *noise;   /* [pixels, channels, images], the pixels those of the row or, of a wave, of the image */
    const uint8_t *known; /* [pixels, channels, images] */
    int64_t *drawn;       /* [pixels, channels, images]: levels, those known, later all */
    Place current;        /* [width, copies tracks images, channels]: the levels, scaled */
    const float *scaled;  /* [levels] */
    double guidance, temperature, top_p;
    Mixture mixture;
} Program;


#endif
