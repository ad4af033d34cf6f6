/* Line numbers of a YAML text by key path; see config_lines.h. */
#include "node/config_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct lks_config_lines {
    yaml_document_t document;
};

int lks_config_lines_new(struct lks_config_lines **lines, const char *text, size_t bytes,
                         const char *file, struct lks_error *err)
{
    struct lks_config_lines *made = calloc(1, sizeof *made);
    yaml_parser_t parser;
    if (made == NULL || yaml_parser_initialize(&parser) == 0) {
        free(made);
        return lks_error_set(err, -ENOMEM, "%s: out of memory", file);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    int rc = 0;
    if (yaml_parser_load(&parser, &made->document) == 0) {
        rc = lks_error_set(err, -LKS_ECONFIG, "%s:%zu: not YAML: %s%s%s", file,
                           parser.problem_mark.line + 1,
                           parser.problem != NULL ? parser.problem : "unreadable",
                           parser.context != NULL ? ", " : "",
                           parser.context != NULL ? parser.context : "");
        free(made);
    } else {
        *lines = made;
    }
    yaml_parser_delete(&parser);
    return rc;
}

void lks_config_lines_free(struct lks_config_lines *lines)
{
    if (lines != NULL) {
        yaml_document_delete(&lines->document);
        free(lines);
    }
}

/* The value of a key in a mapping; *key_line is where the key stands. */
static yaml_node_t *find_key(yaml_document_t *document, const yaml_node_t *mapping,
                             const char *name, size_t length, size_t *key_line)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(document, pair->key);
        if (key != NULL && key->type == YAML_SCALAR_NODE && key->data.scalar.length == length &&
            memcmp(key->data.scalar.value, name, length) == 0) {
            *key_line = key->start_mark.line;
            return yaml_document_get_node(document, pair->value);
        }
    }
    return NULL;
}

unsigned lks_config_lines_find(struct lks_config_lines *lines, const char *path)
{
    yaml_node_t *node = yaml_document_get_root_node(&lines->document);
    size_t line = node != NULL ? node->start_mark.line : 0;
    const char *at = path;
    while (node != NULL && *at != '\0') {
        yaml_node_t *next = NULL;
        if (*at == '[' && node->type == YAML_SEQUENCE_NODE) {
            char *end = NULL;
            const unsigned long index = strtoul(at + 1, &end, 10);
            const yaml_node_item_t *items = node->data.sequence.items.start;
            if (index < (size_t)(node->data.sequence.items.top - items)) {
                next = yaml_document_get_node(&lines->document, items[index]);
                line = next != NULL ? next->start_mark.line : line;
            }
            at = *end == ']' ? end + 1 : end;
        } else {
            at += *at == '.';
            const size_t length = strcspn(at, ".[");
            if (node->type == YAML_MAPPING_NODE) {
                next = find_key(&lines->document, node, at, length, &line);
            }
            at += length;
        }
        node = next;
    }
    return (unsigned)line + 1;
}
