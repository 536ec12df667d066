#include "plots/palette.h"

enum {
    ORANGE = 0xE69F00, SKY = 0x56B4E9, GREEN = 0x009E73, YELLOW = 0xF0E442, BLUE = 0x0072B2,
    VERMILION = 0xD55E00, PURPLE = 0xCC79A7, GREY = 0x999999, LIGHT = 0xC8C8C8, PALE = 0xEBEBEB
};

int colour_of_schedule(Schedule schedule)
{
    static const int colours[SCHEDULE_COUNT] = {
        [SCHEDULE_DP] = GREY, [SCHEDULE_LS] = ORANGE, [SCHEDULE_TR] = SKY, [SCHEDULE_DPU] = BLUE,
        [SCHEDULE_IR] = PURPLE, [SCHEDULE_AHD] = GREEN, [SCHEDULE_SPLIT] = VERMILION,
    };

    return colours[schedule];
}

int colour_of_share(TimeShare share)
{
    static const int colours[SHARE_COUNT] = {
        [SHARE_LOAD] = SKY, [SHARE_TEACHER] = BLUE, [SHARE_STUDENT] = ORANGE, [SHARE_ALLREDUCE] = PURPLE,
        [SHARE_UPDATE] = GREEN, [SHARE_TRANSFER] = YELLOW, [SHARE_WAIT] = LIGHT, [SHARE_IDLE] = PALE,
    };

    return colours[share];
}

int colour_of_memory(MemoryPart part)
{
    static const int colours[MEMORY_COUNT] = {
        [MEMORY_WEIGHTS] = BLUE, [MEMORY_GRADIENTS] = ORANGE, [MEMORY_STATE] = PURPLE,
        [MEMORY_BOUNDARIES] = SKY, [MEMORY_ACTIVATIONS] = GREEN, [MEMORY_QUEUES] = YELLOW,
        [MEMORY_LOADER] = GREY, [MEMORY_PROCESS] = LIGHT,
    };

    return colours[part];
}

/* Forward and backward are the student's share: its colour, and its darker neighbour. */
int colour_of_op(Op op)
{
    static const int colours[OP_COUNT] = {
        [OP_LOAD] = SKY, [OP_RECV] = YELLOW, [OP_SEND] = YELLOW, [OP_TEACHER] = BLUE, [OP_FORWARD] = ORANGE,
        [OP_BACKWARD] = VERMILION, [OP_ALLREDUCE] = PURPLE, [OP_UPDATE] = GREEN, [OP_BARRIER] = LIGHT,
    };

    return colours[op];
}

int colour_in_the_dark(int colour)
{
    switch (colour) {
    case LIGHT: return 0x4B5560;
    case PALE:  return 0x262D35;
    case BLUE:  return 0x2A86C4;
    case GREY:  return 0x8A939D;
    default:    return colour;
    }
}

int colour_of_text(int colour)
{
    int red = colour >> 16, green = colour >> 8 & 255, blue = colour & 255;

    return 299 * red + 587 * green + 114 * blue > 120000 ? 0x222222 : 0xFFFFFF;
}
