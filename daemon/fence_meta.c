/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a fence agent's XML to plain data. */
#include "fence_meta.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 32,
    TEXT_MAX = 1024, /* bytes of a description that are kept */
    CHOICES_MAX = 256,
};

struct reading {
    struct xvm_fence_meta *meta;
    XML_Parser parser;
    char *why;
    int r; /* 0, or why it stopped */
    unsigned depth;
    bool agent, params, actions;  /* inside of these elements */
    struct xvm_meta_param *param; /* inside of this one; borrowed */
    bool text;                    /* inside of its description */
    char words[TEXT_MAX];
    size_t nwords;
};

static void stop(struct reading *reading, int r, const char *why)
{
    if (reading->r < 0)
        return;
    reading->r = r;
    snprintf(reading->why, XVM_META_WHY, "%s (line %lu)", why,
             (unsigned long)XML_GetCurrentLineNumber(reading->parser));
    XML_StopParser(reading->parser, XML_FALSE);
}

static void no_room(struct reading *reading)
{
    stop(reading, -ENOMEM, "out of memory");
}

static const char *attribute(const char **attributes, const char *name)
{
    for (size_t i = 0; attributes[i] != NULL; i += 2) {
        if (strcmp(attributes[i], name) == 0)
            return attributes[i + 1];
    }
    return NULL;
}

/* A copy of an attribute; NULL if it is not there. */
static char *copy(struct reading *reading, const char **attributes, const char *name)
{
    const char *value = attribute(attributes, name);
    char *text;

    if (value == NULL)
        return NULL;
    text = strdup(value);
    if (text == NULL)
        no_room(reading);
    return text;
}

static bool is_true(const char *value)
{
    return value != NULL && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

/* -------------------------------------------------------------------------------- elements */

static void begin_param(struct reading *reading, const char **attributes)
{
    struct xvm_fence_meta *meta = reading->meta;
    const char *name = attribute(attributes, "name");
    struct xvm_meta_param *grown, *p;

    if (name == NULL || name[0] == '\0') {
        stop(reading, -EBADMSG, "a parameter without a name");
        return;
    }
    if (xvm_fence_meta_param(meta, name) != NULL) {
        stop(reading, -EBADMSG, "the same parameter twice");
        return;
    }
    if (meta->nparams == XVM_META_PARAMS_MAX) {
        stop(reading, -EBADMSG, "too many parameters");
        return;
    }
    grown = reallocarray(meta->params, meta->nparams + 1, sizeof(*grown));
    if (grown == NULL) {
        no_room(reading);
        return;
    }
    meta->params = grown;
    p = &grown[meta->nparams];
    *p = (struct xvm_meta_param){.required = is_true(attribute(attributes, "required")),
                                 .deprecated = is_true(attribute(attributes, "deprecated"))};
    p->name = copy(reading, attributes, "name");
    p->obsoletes = copy(reading, attributes, "obsoletes");
    if (p->name == NULL) {
        free(p->obsoletes);
        return;
    }
    meta->nparams++;
    reading->param = p;
}

static void begin_content(struct reading *reading, const char **attributes)
{
    struct xvm_meta_param *p = reading->param;

    if (p->type != NULL || p->fallback != NULL)
        return; /* a second one says nothing */
    p->type = copy(reading, attributes, "type");
    p->fallback = copy(reading, attributes, "default");
}

static void begin_choice(struct reading *reading, const char **attributes)
{
    struct xvm_meta_param *p = reading->param;
    char **grown;

    if (attribute(attributes, "value") == NULL || p->nchoices == CHOICES_MAX)
        return;
    grown = reallocarray(p->choices, p->nchoices + 1, sizeof(*grown));
    if (grown == NULL) {
        no_room(reading);
        return;
    }
    p->choices = grown;
    grown[p->nchoices] = copy(reading, attributes, "value");
    p->nchoices += grown[p->nchoices] != NULL;
}

static void begin_action(struct reading *reading, const char **attributes)
{
    static const struct {
        const char *name;
        enum xvm_meta_action bit;
    } known[] = {{"off", XVM_META_OFF},
                 {"on", XVM_META_ON},
                 {"reboot", XVM_META_REBOOT},
                 {"status", XVM_META_STATUS},
                 {"monitor", XVM_META_MONITOR}};
    const char *name = attribute(attributes, "name");

    for (size_t i = 0; name != NULL && i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name) == 0)
            reading->meta->actions |= known[i].bit;
    }
}

static void XMLCALL on_start(void *user, const char *name, const char **attributes)
{
    struct reading *reading = user;

    if (reading->r < 0)
        return;
    if (++reading->depth > DEPTH_MAX) {
        stop(reading, -EBADMSG, "elements nested too deeply");
    } else if (reading->depth == 1) {
        if (strcmp(name, "resource-agent") != 0)
            stop(reading, -EBADMSG, "the outer element is not <resource-agent>");
        reading->agent = true;
        reading->meta->agent = copy(reading, attributes, "name");
    } else if (reading->depth == 2) {
        reading->params = strcmp(name, "parameters") == 0;
        reading->actions = strcmp(name, "actions") == 0;
    } else if (reading->depth == 3 && reading->params && strcmp(name, "parameter") == 0) {
        begin_param(reading, attributes);
    } else if (reading->depth == 3 && reading->actions && strcmp(name, "action") == 0) {
        begin_action(reading, attributes);
    } else if (reading->param != NULL && strcmp(name, "content") == 0) {
        begin_content(reading, attributes);
    } else if (reading->param != NULL && strcmp(name, "option") == 0) {
        begin_choice(reading, attributes);
    } else if (reading->param != NULL && strcmp(name, "shortdesc") == 0) {
        reading->text = reading->param->text == NULL; /* the first language */
        reading->nwords = 0;
    }
}

static void XMLCALL on_words(void *user, const char *text, int len)
{
    struct reading *reading = user;

    if (!reading->text)
        return;
    for (int i = 0; i < len && reading->nwords + 1 < TEXT_MAX; i++) {
        char c = (unsigned char)text[i] <= ' ' ? ' ' : text[i];

        if (c == ' ' && (reading->nwords == 0 || reading->words[reading->nwords - 1] == ' '))
            continue;
        reading->words[reading->nwords++] = c;
    }
}

static void end_words(struct reading *reading)
{
    reading->text = false;
    while (reading->nwords > 0 && reading->words[reading->nwords - 1] == ' ')
        reading->nwords--;
    if (reading->nwords == 0)
        return;
    reading->param->text = strndup(reading->words, reading->nwords);
    if (reading->param->text == NULL)
        no_room(reading);
}

static void XMLCALL on_end(void *user, const char *name)
{
    struct reading *reading = user;

    if (reading->r < 0)
        return;
    if (reading->text && strcmp(name, "shortdesc") == 0)
        end_words(reading);
    if (reading->depth == 3)
        reading->param = NULL;
    if (reading->depth == 2)
        reading->params = reading->actions = false;
    reading->depth--;
}

/* Entities multiply, and no agent needs them. */
static void XMLCALL on_doctype(void *user, const char *name, const char *sysid, const char *pubid,
                               int internal)
{
    (void)name;
    (void)sysid;
    (void)pubid;
    if (internal)
        stop(user, -EBADMSG, "a document type with declarations of its own");
}

/* ----------------------------------------------------------------------------------- whole */

static int check(struct reading *reading)
{
    const struct xvm_fence_meta *meta = reading->meta;

    if (reading->r < 0)
        return reading->r;
    if (meta->actions == 0) {
        snprintf(reading->why, XVM_META_WHY, "it names no action");
        return -EBADMSG;
    }
    return 0;
}

static int parse(struct reading *reading, const char *xml, size_t len)
{
    XML_Parser parser = reading->parser;

    XML_SetUserData(parser, reading);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_words);
    XML_SetStartDoctypeDeclHandler(parser, on_doctype);
    if (XML_Parse(parser, xml, (int)len, 1) == XML_STATUS_ERROR && reading->r == 0) {
        enum XML_Error code = XML_GetErrorCode(parser);

        if (code == XML_ERROR_NO_MEMORY)
            return -ENOMEM;
        snprintf(reading->why, XVM_META_WHY, "not XML: %s (line %lu)", XML_ErrorString(code),
                 (unsigned long)XML_GetCurrentLineNumber(parser));
        return -EBADMSG;
    }
    return check(reading);
}

int xvm_fence_meta_parse(const char *xml, size_t len, struct xvm_fence_meta **ret_meta,
                         char why[static XVM_META_WHY])
{
    struct reading reading = {.why = why};
    int r;

    while (len > 0 && (*xml == ' ' || *xml == '\n' || *xml == '\r' || *xml == '\t')) {
        xml++; /* before the XML declaration nothing may stand, yet agents print empty lines */
        len--;
    }
    if (len == 0 || len > XVM_META_SIZE_MAX) {
        snprintf(why, XVM_META_WHY, len == 0 ? "it says nothing" : "more than %d bytes",
                 XVM_META_SIZE_MAX);
        return -EBADMSG;
    }
    reading.meta = calloc(1, sizeof(*reading.meta));
    reading.parser = XML_ParserCreate(NULL);
    r = reading.meta != NULL && reading.parser != NULL ? parse(&reading, xml, len) : -ENOMEM;
    if (reading.parser != NULL)
        XML_ParserFree(reading.parser);
    if (r < 0)
        xvm_fence_meta_free(reading.meta);
    else
        *ret_meta = reading.meta;
    return r;
}

struct xvm_fence_meta *xvm_fence_meta_free(struct xvm_fence_meta *meta)
{
    if (meta == NULL)
        return NULL;
    for (size_t i = 0; i < meta->nparams; i++) {
        struct xvm_meta_param *p = &meta->params[i];

        for (size_t k = 0; k < p->nchoices; k++)
            free(p->choices[k]);
        free(p->choices);
        free(p->name);
        free(p->type);
        free(p->fallback);
        free(p->text);
        free(p->obsoletes);
    }
    free(meta->params);
    free(meta->agent);
    free(meta);
    return NULL;
}

const struct xvm_meta_param *xvm_fence_meta_param(const struct xvm_fence_meta *meta,
                                                  const char *name)
{
    for (size_t i = 0; i < meta->nparams; i++) {
        if (strcmp(meta->params[i].name, name) == 0)
            return &meta->params[i];
    }
    return NULL;
}

const struct xvm_meta_param *xvm_fence_meta_successor(const struct xvm_fence_meta *meta,
                                                      const char *name)
{
    for (size_t i = 0; i < meta->nparams; i++) {
        if (meta->params[i].obsoletes != NULL && strcmp(meta->params[i].obsoletes, name) == 0)
            return &meta->params[i];
    }
    return NULL;
}
