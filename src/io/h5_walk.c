/* h5_walk.c: what groups hold. HDF5 puts a group's links in order in a table of as many as the group
 * claims; where one of them can't be decoded it frees the entries that were never filled (1.10.8,
 * H5G__link_release_table). So every link is decoded once before the table is asked for. */
#include <stdio.h>
#include <string.h>

#include "h5_file.h"

static herr_t count_link(hid_t group, const char *name, const H5L_info_t *link, void *data)
{
    (void)group, (void)name, (void)link;
    ++*(hsize_t *)data;
    return 0;
}

/* By storage: links in the group's header are all decoded by a search that finds none; those in a heap
 * by a walk in no order, which has no table. A group of the older form has no table either. */
static bool links_are_sound(hid_t file, const char *name)
{
    H5G_info_t info;
    hsize_t at = 0, count = 0;
    bool sound = true;
    const hid_t group = H5Gopen2(file, name, H5P_DEFAULT);
    if (group < 0) return false;
    if (H5Gget_info(group, &info) < 0)
        sound = false;
    else if (info.storage_type == H5G_STORAGE_TYPE_COMPACT)
        sound = H5Lexists(group, "no link of flexhpc's has this name", H5P_DEFAULT) == 0;
    else if (info.storage_type == H5G_STORAGE_TYPE_DENSE)
        sound = H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, &at, count_link, &count) >= 0 &&
                count == info.nlinks;
    H5Gclose(group);
    return sound;
}

/* ---- Members of one group. */

typedef struct members {
    fx_h5_name *out;
    int count;
} members;

static herr_t add_member(hid_t group, const char *name, const H5L_info_t *link, void *data)
{
    members *m = data;
    (void)group, (void)link;
    const size_t length = strlen(name);
    if (m->count == FX_H5_NAMES || length == 0 || length > FX_NAME_MAX) return -1;
    memcpy(m->out[m->count++].text, name, length + 1);
    return 0;
}

fx_status fx_h5_members(fx_h5 *f, const char *group, fx_h5_name out[FX_H5_NAMES], int *count)
{
    members m = {.out = out};
    hsize_t at = 0;
    fx_h5_enter(f);
    const fx_status status = fx_h5_check_path(f, group);
    if (status != FX_OK) {
        fx_h5_leave();
        return status;
    }
    if (!links_are_sound(f->file, group) ||
        H5Literate_by_name(f->file, group, H5_INDEX_NAME, H5_ITER_INC, &at, add_member, &m,
                           H5P_DEFAULT) < 0)
        return fx_h5_failed(f, group, "is no group, or has too many members");
    fx_h5_leave();
    *count = m.count;
    return FX_OK;
}

/* ---- All datasets. */

/* Depth and groups are those of any sound file: a damaged one can say of a circle of groups, or of
 * groups that share their members, that each has one name. */
enum { MOST_DEPTH = 128, MOST_GROUPS = 1 << 16, MOST_SHARED = 1 << 12, MOST_LINKS = 1 << 20 };

typedef struct walk {
    fx_h5 *f;
    fx_status (*visit)(void *self, fx_h5 *f, const char *name); /* NULL: links are looked at alone */
    void *self;
    int depth, groups, shared;
    long links;
    haddr_t seen[MOST_SHARED]; /* groups of several names, visited by the first that was met */
    char path[FX_PATH_MAX];    /* of the group at work */
} walk;

static fx_status walk_group(walk *w);

static fx_status refuse(const walk *w, const char *name, const char *why)
{
    return fx_fail(FX_EIO, "%s: %s: %s, refused", w->f->path, name, why);
}

/* With HDF5's reason. */
static fx_status unreadable(const walk *w, const char *name, const char *what)
{
    fx_h5_enter(w->f); /* fx_h5_failed leaves once */
    return fx_h5_failed(w->f, name, what);
}

static bool is_seen(const walk *w, haddr_t address)
{
    for (int i = 0; i < w->shared; i++)
        if (w->seen[i] == address) return true;
    return false;
}

/* NULL in *refused and false: it was visited under another name. */
static bool enter_group(walk *w, const H5O_info_t *info, const char **refused)
{
    *refused = NULL;
    if (info->rc > 1 && is_seen(w, info->addr)) return false;
    if (w->depth == MOST_DEPTH)
        *refused = "groups within groups without end";
    else if (++w->groups > MOST_GROUPS || (info->rc > 1 && w->shared == MOST_SHARED))
        *refused = "too many groups";
    else if (info->rc > 1)
        w->seen[w->shared++] = info->addr;
    return !*refused;
}

/* name: from the root; of `group` its last part. */
static fx_status visit_object(walk *w, hid_t group, const char *last, const char *name)
{
    H5O_info_t info;
    const char *refused;
    if (H5Oget_info_by_name2(group, last, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return unreadable(w, name, "unreadable object");
    if (info.type == H5O_TYPE_DATASET) return w->visit ? w->visit(w->self, w->f, name) : FX_OK;
    if (info.type != H5O_TYPE_GROUP) return FX_OK;
    if (!enter_group(w, &info, &refused)) return refused ? refuse(w, name, refused) : FX_OK;
    FX_TRY(fx_path(w->path, "%s", name));
    w->depth++;
    const fx_status status = walk_group(w);
    w->depth--;
    return status;
}

/* The walk of a foreign file goes past its links; a file of ours that has some is no file of ours. */
static fx_status visit_link(walk *w, hid_t group, const char *last, const char *name, H5L_type_t type)
{
    if (++w->links > MOST_LINKS) return refuse(w, name, "too many objects");
    if (type == H5L_TYPE_HARD) return visit_object(w, group, last, name);
    return w->f->foreign ? FX_OK : refuse(w, name, "is a link");
}

typedef struct step {
    walk *w;
    fx_status status;
} step;

static herr_t next_link(hid_t group, const char *name, const H5L_info_t *link, void *data)
{
    step *s = data;
    char full[FX_PATH_MAX];
    const size_t length = strlen(s->w->path);
    s->status = fx_path(full, "%s%s%s", s->w->path, length ? "/" : "", name);
    if (s->status == FX_OK) s->status = visit_link(s->w, group, name, full, link->type);
    s->w->path[length] = '\0'; /* the group at work again */
    return s->status == FX_OK ? 0 : 1;
}

static fx_status walk_group(walk *w)
{
    step s = {w, FX_OK};
    hsize_t at = 0;
    const char *name = w->path[0] ? w->path : "/";
    if (!links_are_sound(w->f->file, name)) return unreadable(w, name, "unreadable links");
    if (H5Literate_by_name(w->f->file, name, H5_INDEX_NAME, H5_ITER_INC, &at, next_link, &s,
                           H5P_DEFAULT) < 0)
        return unreadable(w, name, "walk");
    return s.status;
}

/* The root is a group like others, and a link may lead back to it. */
static fx_status walk_all(walk *w)
{
    H5O_info_t info;
    const char *refused;
    if (H5Oget_info_by_name2(w->f->file, "/", &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return unreadable(w, "/", "unreadable object");
    return enter_group(w, &info, &refused) ? walk_group(w) : refuse(w, "/", refused);
}

fx_status fx_h5_walk(fx_h5 *f, fx_status (*visit)(void *self, fx_h5 *f, const char *name), void *self)
{
    walk links = {.f = f}, all = {.f = f, .visit = visit, .self = self};
    fx_h5_enter(f);
    fx_status status = f->foreign ? FX_OK : walk_all(&links); /* before anything is visited */
    if (status == FX_OK) status = walk_all(&all);
    fx_h5_leave();
    return status;
}
