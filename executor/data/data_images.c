/* Folders of JPEG files: FOLDER/train/CLASS/NAME.jpg, FOLDER/val/CLASS/NAME.jpg. A class's label
 * is its place among the classes of train by name, in the order of bytes; samples are in the
 * order of label and name. Names that do not end in .jpg or .jpeg are passed over. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "executor/data/crop.h"
#include "executor/data/data_source.h"
#include "executor/data/jpeg.h"

enum { MOST_BYTES = 1 << 28, DRAW_MIRROR = 0, DRAW_CROP = 1, WHOLE_IMAGES = 256 };

typedef struct {
    const char *path;
    int         label;
} Image;

typedef struct {
    DataWants   wants;
    Arena       arena;           /* owns paths and names of classes */
    const char **class;          /* [class_count] */
    int         class_count;
    Image      *image;           /* [count] */
    int64_t     count, room;
} Images;

static void images_free(void *state)
{
    Images *images = state;

    arena_free(&images->arena);
    free(images->class);
    free(images->image);
    free(images);
}

/* ---- finding files -------------------------------------------------------------- */

/* Owned by the arena; NULL without memory. */
static const char *join(Arena *arena, const char *folder, const char *name)
{
    Text text = {0};

    text_printf(&text, "%s/%s", folder, name);
    const char *path = text_failed(&text) ? NULL : arena_strdup(arena, text_string(&text));
    text_free(&text);
    return path;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int is_jpeg(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return visible(entry) && dot && (strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0);
}

static void free_entries(struct dirent **entry, int count)
{
    for (int i = 0; i < count; i++) free(entry[i]);
    free(entry);
}

static int list(struct dirent ***out, int *count, const char *folder,
                int (*filter)(const struct dirent *), Error *err)
{
    *count = scandir(folder, out, filter, by_name);
    if (*count >= 0) return 0;
    *out = NULL;
    *count = 0;
    return errno == ENOMEM
               ? error_no_memory(err)
               : error_set(err, "%s: cannot read the folder: %s", folder, strerror(errno));
}

/* The names of the folders in a folder. */
static int list_classes(Images *images, const char *folder, Error *err)
{
    struct dirent **entry;
    struct stat     info;
    int             count, rc = -1;

    if (list(&entry, &count, folder, visible, err) != 0) return -1;
    images->class = calloc((size_t)count + 1, sizeof *images->class);
    if (!images->class) { error_no_memory(err); goto done; }
    for (int i = 0; i < count; i++) {
        const char *path = join(&images->arena, folder, entry[i]->d_name);
        if (!path) { error_no_memory(err); goto done; }
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            images->class[images->class_count++] = path + strlen(folder) + 1;
    }
    if (images->class_count == 0)
        error_set(err, "%s: has no folders, expected one a class", folder);
    else rc = 0;
done:
    free_entries(entry, count);
    return rc;
}

static int add_image(Images *images, const char *folder, const char *name, int label, Error *err)
{
    if (!array_has_room(images->image, images->count, images->room)) return error_no_memory(err);
    const char *path = join(&images->arena, folder, name);
    if (!path) return error_no_memory(err);
    images->image[images->count++] = (Image){path, label};
    return 0;
}

/* The images of a class in a part. */
static int list_images(Images *images, const char *part, int label, Error *err)
{
    struct dirent **entry;
    int             count, rc = -1;
    const char     *folder = join(&images->arena, part, images->class[label]);

    if (!folder) return error_no_memory(err);
    if (list(&entry, &count, folder, is_jpeg, err) != 0) return -1;
    if (count == 0) { error_set(err, "%s: has no .jpg files", folder); goto done; }
    for (int i = 0; i < count; i++)
        if (add_image(images, folder, entry[i]->d_name, label, err) != 0) goto done;
    rc = 0;
done:
    free_entries(entry, count);
    return rc;
}

/* Fails when a part has a class that train has not, whose label would be anybody's guess, or lacks
 * one that train has. */
static int check_part(const Images *images, const char *part, Error *err)
{
    Images other = {0};
    int    rc = list_classes(&other, part, err);

    for (int i = 0, j = 0; (i < other.class_count || j < images->class_count) && rc == 0;) {
        int order = i == other.class_count     ? 1
                    : j == images->class_count ? -1
                                               : strcmp(other.class[i], images -> class[j]);
        if (order < 0)
            rc = error_set(err, "%s/%s: there is no such class for training", part, other.class[i]);
        if (order > 0)
            rc = error_set(err, "%s: has no folder of class %s, though train has", part,
                           images->class[j]);
        i++;
        j++;
    }
    arena_free(&other.arena);
    free(other.class);
    return rc;
}

static int find_images(Images *images, const char *folder, Error *err)
{
    const char *train = join(&images->arena, folder, "train"), *part = train;
    int         classes = images->wants.classes;

    if (!train) return error_no_memory(err);
    if (list_classes(images, train, err) != 0) return -1;
    if (classes != 0 && classes != images->class_count)
        return error_set(err, "%s: has %d classes, and the workload %d", train, images->class_count,
                         classes);
    if (images->wants.part == DATA_VALIDATION) {
        part = join(&images->arena, folder, "val");
        if (!part) return error_no_memory(err);
        if (check_part(images, part, err) != 0) return -1;
    }
    for (int label = 0; label < images->class_count; label++)
        if (list_images(images, part, label, err) != 0) return -1;
    return 0;
}

static int images_open(void **out, int64_t *count, const char *folder, const DataWants *wants,
                       Error *err)
{
    if (!jpeg_available()) return error_set(err, "data source images: this build has no libjpeg");
    if (wants->shape.channels != 3)
        return error_set(err, "data source images: has 3 channels, and the workload's input %d",
                         wants->shape.channels);
    Images *images = calloc(1, sizeof *images);
    if (!images) return error_no_memory(err);
    *out = images;
    images->wants = *wants;
    if (find_images(images, folder, err) != 0) return -1;
    *count = images->count;
    return 0;
}

/* ---- an image --------------------------------------------------------------------- */

/* What is cut out of an image, once its size is known. */
typedef struct {
    const DataWants *wants;
    uint64_t         seed;
    int64_t          epoch, sample;
    Crop             crop;
} ImageCut;

static double draw(void *context, int n)
{
    const ImageCut *cut = context;

    return data_draw(cut->seed, cut->epoch, cut->sample, DRAW_CROP + n);
}

static int choose_crop(void *context, int width, int height)
{
    ImageCut  *cut = context;
    Shape shape = cut->wants->shape;

    cut->crop = cut->wants->augment ? crop_random(width, height, draw, cut)
                                   : crop_centre(width, height, shape.width, shape.height);
    return crop_reduction(cut->crop, shape.width, shape.height);
}

static int cut_out(const ImageCut *cut, const JpegImage *image, float *out, Error *err)
{
    const DataWants *wants = cut->wants;
    Shape  shape = wants->shape;
    double r = image->reduced;
    Crop   crop = {cut->crop.x / r, cut->crop.y / r, cut->crop.width / r, cut->crop.height / r};
    bool   mirror =
        wants->augment && data_draw(cut->seed, cut->epoch, cut->sample, DRAW_MIRROR) < 0.5;

    if (crop_resample(out, shape.width, shape.height, image->pixels, image->pixel_width,
                      image->pixel_height, crop, mirror, err)
        != 0)
        return -1;
    for (int64_t i = 0; i < (int64_t)shape.width * shape.height; i++)
        for (int c = 0; c < 3; c++, out++) *out = data_normal(wants, c, *out);
    return 0;
}

/* What is no regular file is not even opened: a pipe would be waited for without end. */
static int read_image(char **bytes, size_t *length, const char *path, Error *err)
{
    struct stat info;

    *bytes = NULL;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return error_set(err, "%s: is no regular file", path);
    return file_read(bytes, length, path, MOST_BYTES, err);
}

/* Decodes image i and cuts it as (seed, epoch, i) say: out is [channels][height][width],
 * normalised. *damaged: the file is unreadable or no JPEG, so a run may put another in its place;
 * lack of memory is not that. */
static int images_load(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
                       bool *damaged, Error *err)
{
    const Images *images = state;
    const char   *path = images->image[i].path;
    ImageCut           cut = {.wants = &images->wants, .seed = seed, .epoch = epoch, .sample = i};
    JpegImage     image = {0};
    char         *bytes;
    size_t        length;

    int rc = read_image(&bytes, &length, path, err);
    if (rc == 0 && (rc = jpeg_decode(&image, bytes, length, choose_crop, &cut, err)) != 0
        && !error_is_no_memory(err))
        error_prefix(err, "%s", path);
    if (rc == 0) rc = cut_out(&cut, &image, out, err);
    else if (!error_is_no_memory(err)) {
        *damaged = true;
        error_prefix(err, "sample %" PRId64, i);
    }
    free(image.pixels);
    free(bytes);
    *label = images->image[i].label;
    return rc;
}

/* One image's name, below the folder of its part, and size; whole: its bytes too. */
static int hash_image(uint64_t *hash, const Image *image, bool whole, Error *err)
{
    const char *name = image->path + strlen(image->path);
    struct stat info;
    int         fd, rc;

    for (int slashes = 0; name > image->path; name--)
        if (name[-1] == '/' && ++slashes == 2) break;
    if (stat(image->path, &info) != 0)
        return error_set(err, "%s: cannot read: %s", image->path, strerror(errno));
    *hash = hash_bytes(*hash, name, strlen(name) + 1);
    *hash = hash_bytes(*hash, &info.st_size, sizeof info.st_size);
    if (!whole || !S_ISREG(info.st_mode)) return 0;
    fd = open(image->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_set(err, "%s: cannot open: %s", image->path, strerror(errno));
    rc = data_hash_file(hash, fd, image->path, 0, INT64_MAX, err);
    close(fd);
    return rc;
}

static int images_hash(void *state, uint64_t *hash, Error *err)
{
    const Images *images = state;
    int64_t       every = images->count / WHOLE_IMAGES + 1;

    for (int64_t i = 0; i < images->count; i++)
        if (hash_image(hash, &images->image[i], i % every == 0, err) != 0) return -1;
    return 0;
}

static int images_label(const void *state, int64_t i)
{
    return ((const Images *)state)->image[i].label;
}

const DataSource DATA_IMAGES = {"images", true, images_open, images_free, images_load,
                                NULL,     NULL, true,        images_hash, images_label};
