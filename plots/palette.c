/* Three palettes that people with any colour vision tell apart, none of which has a colour of
 * another: what devices do is from Okabe and Ito (2008), schedules are from Tol's "muted", parts of
 * memory from Tol's "light" scheme (SRON/EPS/TN/09-002). */
#include "plots/palette.h"
#include "schedule/registry.h"

enum {
    ORANGE = 0xE69F00,
    SKY = 0x56B4E9,
    GREEN = 0x009E73,
    YELLOW = 0xF0E442,
    BLUE = 0x0072B2,
    VERMILION = 0xD55E00,
    PURPLE = 0xCC79A7,
    LIGHT = 0xC8C8C8,
    PALE = 0xEBEBEB,

    /* of schedule/registry.c, which are dark */
    GREY = 0x888888,
    INDIGO = 0x332288,
    MAGENTA = 0xAA4499,
    WINE = 0x882255,

    LIGHT_BLUE = 0x77AADD,
    CORAL = 0xEE8866,
    PINK = 0xFFAABB,
    CYAN = 0x99DDFF,
    MINT = 0x44BB99,
    STRAW = 0xEEDD88,
    PEAR = 0xBBCC33,
    SILVER = 0xAFAFAF,

    BROWN = 0x8C510A,
    TAN = 0xBF9D6B /* the store's, apart from all of them */
};

/* Texts in boxes: on colours, on boxes that are dark on a dark page, and white. */
enum { ON_COLOUR = 0x202020, ON_GREY = 0x212121, ON_DARK = 0xFDFDFD };

int colour_of_schedule(Schedule schedule)
{
    return schedule_row(schedule)->colour;
}

int colour_of_share(TimeShare share)
{
    static const int colours[SHARE_COUNT] = {
        [SHARE_LOAD] = SKY,         [SHARE_TEACHER] = BLUE, [SHARE_STUDENT] = ORANGE,
        [SHARE_ALLREDUCE] = PURPLE, [SHARE_UPDATE] = GREEN, [SHARE_TRANSFER] = YELLOW,
        [SHARE_WAIT] = LIGHT,       [SHARE_IDLE] = PALE,    [SHARE_STORAGE] = BROWN,
    };

    return colours[share];
}

int colour_of_memory(MemoryPart part)
{
    static const int colours[MEMORY_COUNT] = {
        [MEMORY_WEIGHTS] = LIGHT_BLUE, [MEMORY_GRADIENTS] = CORAL, [MEMORY_STATE] = PINK,
        [MEMORY_BOUNDARIES] = CYAN, [MEMORY_ACTIVATIONS] = MINT, [MEMORY_QUEUES] = STRAW,
        [MEMORY_LOADER] = PEAR, [MEMORY_PROCESS] = SILVER,
    };

    return colours[part];
}

/* Forward and backward are the student's share: its colour, and its darker neighbour. */
int colour_of_op(Op op)
{
    static const int colours[OP_COUNT] = {
        [OP_LOAD] = SKY,         [OP_RECV] = YELLOW,    [OP_SEND] = YELLOW,
        [OP_TEACHER] = BLUE,     [OP_FORWARD] = ORANGE, [OP_BACKWARD] = VERMILION,
        [OP_ALLREDUCE] = PURPLE, [OP_UPDATE] = GREEN,   [OP_BARRIER] = LIGHT,
        [OP_STORE] = BROWN,      [OP_FETCH] = BROWN,    [OP_ONLOAD] = TAN,
        [OP_OFFLOAD] = TAN,
    };

    return colours[op];
}

const ColourPair colours_in_the_dark[] = {
    {LIGHT, 0x4B5560},
    {PALE, 0x262D35},
    {BLUE, 0x2A86C4},
    {INDIGO, 0x8F83E0},
    {WINE, 0xC9598F},
    {MAGENTA, 0xC565B5},
    {ON_GREY, 0xE6EAEE},
    /* paper, text, axes, grids, and the predictions beside measurements */
    {0xFFFFFF, 0x12161B},
    {0x000000, 0xE6EAEE},
    {0x111111, 0xE6EAEE},
    {0x222222, 0xE6EAEE},
    {0x444444, 0xC3CBD3},
    {0x666666, 0x6B7681},
    {GREY, 0x8A939D},
    {0xDDDDDD, 0x2D353E},
    {-1, -1},
};

int colour_of_text(int colour)
{
    int red = colour >> 16, green = colour >> 8 & 255, blue = colour & 255;

    if (colour == LIGHT || colour == PALE) return ON_GREY;
    return 299 * red + 587 * green + 114 * blue > 120000 ? ON_COLOUR : ON_DARK;
}

int colour_pale(int colour)
{
    int out = 0;

    for (int shift = 0; shift < 24; shift += 8)
        out |= (((colour >> shift & 255) + 2 * 255) / 3) << shift;
    return out;
}
