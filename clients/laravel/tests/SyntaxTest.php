<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Tests;

use PhpParser\Node;
use PhpParser\NodeFinder;
use PhpParser\ParserFactory;
use PHPUnit\Framework\TestCase as Plain;
use RecursiveDirectoryIterator;
use RecursiveIteratorIterator;

/** Laravel 8.83 runs on PHP 7.4: nothing here is newer, though the PHP that runs this may be. */
class SyntaxTest extends Plain
{
    private const FUNCTIONS = [
        'str_contains', 'str_starts_with', 'str_ends_with', 'array_is_list', 'get_debug_type', 'fdiv', 'get_resource_id', 'array_find',
        'array_any', 'array_all', 'json_validate', 'mb_str_pad', 'mb_trim',
    ];

    private const TYPES = ['mixed', 'static', 'never', 'false', 'true', 'null'];

    public function test_nothing_is_newer_than_php_7_4()
    {
        if (! class_exists(ParserFactory::class)) {
            $this->markTestSkipped('nikic/php-parser is not there');
        }
        $factory = new ParserFactory();
        $parser = method_exists($factory, 'createForNewestSupportedVersion')
            ? $factory->createForNewestSupportedVersion()
            : $factory->create(ParserFactory::PREFER_PHP7);
        $newer = [];
        foreach (new RecursiveIteratorIterator(new RecursiveDirectoryIterator(dirname(__DIR__))) as $file) {
            if ($file->getExtension() === 'php' && strpos($file->getPathname(), '/vendor/') === false) {
                foreach ((new NodeFinder())->find($parser->parse(file_get_contents($file)), [$this, 'isNewer']) as $node) {
                    $newer[] = "$file:{$node->getStartLine()} {$node->getType()}";
                }
            }
        }
        $this->assertSame([], $newer);
    }

    public function isNewer(Node $node): bool
    {
        switch ($node->getType()) {
            case 'UnionType':
            case 'IntersectionType':
            case 'AttributeGroup':
            case 'Expr_Match':
            case 'Expr_NullsafePropertyFetch':
            case 'Expr_NullsafeMethodCall':
            case 'Stmt_Enum':
            case 'VariadicPlaceholder':
                return true;
            case 'Stmt_Catch':
                return $node->var === null;
            case 'Param':
                return $node->flags !== 0 || $this->isNewType($node->type);
            case 'Arg':
                return $node->name !== null;
            case 'Stmt_Property':
                return ($node->flags & 64) !== 0 || $this->isNewType($node->type); // readonly
            case 'Stmt_ClassMethod':
            case 'Expr_Closure':
            case 'Stmt_Function':
                return $this->isNewType($node->returnType);
            case 'Expr_ClassConstFetch':
                return ! $node->class instanceof Node\Name;
            case 'Expr_FuncCall':
                return $node->name instanceof Node\Name && in_array($node->name->toLowerString(), self::FUNCTIONS, true);
        }

        return false;
    }

    private function isNewType($type): bool
    {
        $type = $type instanceof Node\NullableType ? $type->type : $type;

        return ($type instanceof Node\Identifier || $type instanceof Node\Name) && in_array($type->toLowerString(), self::TYPES, true);
    }
}
